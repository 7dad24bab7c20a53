"""abc-parametrizations: how multipliers, initialisation and learning rate scale with width."""

from mupi.parametrization.conditions import Condition, conditions, power
from mupi.parametrization.exponents import Exponents
from mupi.parametrization.nearest import distance
from mupi.parametrization.parametrization import Parametrization
from mupi.parametrization.rates import LearningRates, adam_rates, sgd_rates
from mupi.parametrization.roles import Roles
from mupi.parametrization.scalings import Scalings

__all__ = [
    "Condition",
    "Exponents",
    "LearningRates",
    "Parametrization",
    "Roles",
    "Scalings",
    "adam_rates",
    "conditions",
    "distance",
    "power",
    "sgd_rates",
]
