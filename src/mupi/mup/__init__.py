"""μP of any PyTorch module: tune a narrow network, train a wide one by the same settings."""

from mupi.mup.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike, family_of
from mupi.mup.fans import Fans
from mupi.mup.faults import Fault
from mupi.mup.parametrize import parametrize
from mupi.mup.parametrized import Parametrized
from mupi.mup.plan import Planned
from mupi.mup.together import Together

__all__ = [
    "AdafactorLike",
    "AdamLike",
    "Family",
    "Fans",
    "Fault",
    "MuonLike",
    "Parametrized",
    "Planned",
    "SGDLike",
    "Together",
    "family_of",
    "parametrize",
]
