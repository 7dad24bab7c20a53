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
from mupi.features import Atoms, Expansion, Hermite, Random
from mupi.layers import InputLayer, LayerError, PiLinear
from mupi.nets import PiMLP
from mupi.optim import SGD, factor_gradients
from mupi.version import __version__

__all__ = [
    "Abs",
    "Activation",
    "Atoms",
    "Cos",
    "Erf",
    "Expansion",
    "GELU",
    "Hermite",
    "Identity",
    "InputLayer",
    "LayerError",
    "LeakyReLU",
    "NormalizedPolynomial",
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
    "factor_gradients",
]
