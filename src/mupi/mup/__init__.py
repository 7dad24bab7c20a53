"""μP of any PyTorch module: tune a narrow network, train a wide one by the same settings."""

from mupi.mup.check import check, check_scaling
from mupi.mup.check_result import Check, CheckVerdict
from mupi.mup.depth_scaling import DepthScaling
from mupi.mup.faults import Fault
from mupi.mup.forecast import curves, forecast
from mupi.mup.parametrize import parametrize
from mupi.mup.parametrized import Parametrized
from mupi.mup.plan import Planned
from mupi.mup.predict import predict
from mupi.mup.prediction import Prediction
from mupi.mup.rate_sweep import RateSweep, TransferVerdict
from mupi.mup.together import Together
from mupi.mup.transfer_check import sweep_rates, transfer_check
from mupi.mup.width_law import WidthLaw
from mupi.optim.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike
from mupi.optim.fans import Fans
from mupi.optim.known_optimizers import family_of

__all__ = [
    "AdafactorLike",
    "AdamLike",
    "Check",
    "CheckVerdict",
    "DepthScaling",
    "Family",
    "Fans",
    "Fault",
    "MuonLike",
    "Parametrized",
    "Planned",
    "Prediction",
    "RateSweep",
    "SGDLike",
    "Together",
    "TransferVerdict",
    "WidthLaw",
    "check",
    "check_scaling",
    "curves",
    "family_of",
    "forecast",
    "parametrize",
    "predict",
    "sweep_rates",
    "transfer_check",
]
