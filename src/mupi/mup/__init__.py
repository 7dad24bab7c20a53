"""μP of any PyTorch module: tune a narrow network, train a wide one by the same settings."""

from mupi.mup.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike, family_of
from mupi.mup.fans import Fans

__all__ = [
    "AdafactorLike",
    "AdamLike",
    "Family",
    "Fans",
    "MuonLike",
    "SGDLike",
    "family_of",
]
