"""Activations φ with their Gaussian expectations: one file per family."""

from mupi.activations.activation import Activation
from mupi.activations.conversion import as_activation
from mupi.activations.error_function import GELU, Erf
from mupi.activations.normalized import NormalizedPolynomial
from mupi.activations.piecewise_linear import PiecewiseLinear
from mupi.activations.polynomial import Identity, Polynomial
from mupi.activations.quadrature import Quadrature
from mupi.activations.rectifiers import Abs, LeakyReLU, ReLU
from mupi.activations.tanh import Tanh
from mupi.activations.trigonometric import Cos, Sin

__all__ = [
    "Abs",
    "Activation",
    "Cos",
    "Erf",
    "GELU",
    "Identity",
    "LeakyReLU",
    "NormalizedPolynomial",
    "PiecewiseLinear",
    "Polynomial",
    "Quadrature",
    "ReLU",
    "Sin",
    "Tanh",
    "as_activation",
]
