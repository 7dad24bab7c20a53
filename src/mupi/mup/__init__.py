"""μP of any PyTorch module: tune a narrow network, train a wide one by the same settings."""

from mupi.mup.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike, family_of
from mupi.mup.fans import Fans
from mupi.mup.faults import Fault
from mupi.mup.forecast import curves, forecast
from mupi.mup.parametrize import parametrize
from mupi.mup.parametrized import Parametrized
from mupi.mup.plan import Planned
from mupi.mup.rate_sweep import RateSweep, TransferVerdict
from mupi.mup.together import Together
from mupi.mup.transfer_check import sweep_rates, transfer_check
from mupi.mup.width_law import WidthLaw

__all__ = [
    "AdafactorLike",
    "AdamLike",
    "Family",
    "Fans",
    "Fault",
    "MuonLike",
    "Parametrized",
    "Planned",
    "RateSweep",
    "SGDLike",
    "Together",
    "TransferVerdict",
    "WidthLaw",
    "curves",
    "family_of",
    "forecast",
    "parametrize",
    "sweep_rates",
    "transfer_check",
]
