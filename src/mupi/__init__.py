"""mupi: infinite-width neural networks that learn features."""

from mupi.activations import (
    GELU,
    Abs,
    Activation,
    Cos,
    Erf,
    Identity,
    LeakyReLU,
    NormalizedPolynomial,
    Polynomial,
    Quadrature,
    ReLU,
    Sin,
    Tanh,
)
from mupi.experiments.coordinates import coordinate_check
from mupi.features import Atoms, Expansion, Hermite, Random
from mupi.kernels import NNGP, NTK, KernelRegression
from mupi.layers import InputLayer, LayerError, PiLinear
from mupi.nets import MLP, LinearMuLimit, PiMLP, parameter_groups, parametrize
from mupi.optim import SGD, factor_gradients
from mupi.parametrization import Parametrization
from mupi.version import __version__

__all__ = [
    "Abs",
    "Activation",
    "Atoms",
    "Cos",
    "Erf",
    "Expansion",
    "GELU",
    "MLP",
    "NNGP",
    "NTK",
    "Hermite",
    "Identity",
    "InputLayer",
    "KernelRegression",
    "LayerError",
    "LeakyReLU",
    "LinearMuLimit",
    "NormalizedPolynomial",
    "Parametrization",
    "PiLinear",
    "PiMLP",
    "Polynomial",
    "Quadrature",
    "Random",
    "ReLU",
    "SGD",
    "Sin",
    "Tanh",
    "__version__",
    "coordinate_check",
    "factor_gradients",
    "parameter_groups",
    "parametrize",
]
