"""abc-parametrizations: how multipliers, initialisation and learning rate scale with width."""

from mupi.parametrization.conditions import Condition, conditions, power
from mupi.parametrization.exponents import Exponents
from mupi.parametrization.nearest import distance
from mupi.parametrization.parametrization import Parametrization
from mupi.parametrization.rates import LearningRates
from mupi.parametrization.scalings import Scalings

__all__ = [
    "Condition",
    "Exponents",
    "LearningRates",
    "Parametrization",
    "Scalings",
    "conditions",
    "distance",
    "power",
]
