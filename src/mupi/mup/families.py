"""Families of optimizers, where rules of μP look for them: they are `mupi.optim.families`."""

from mupi.optim.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike, family_of

__all__ = ["AdafactorLike", "AdamLike", "Family", "MuonLike", "SGDLike", "family_of"]
