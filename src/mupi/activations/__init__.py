"""Activations φ with their Gaussian expectations: one file per family."""

from collections.abc import Callable

from torch import Tensor

from mupi.activations.activation import Activation
from mupi.activations.error_function import GELU, Erf
from mupi.activations.normalized import NormalizedPolynomial
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
    "Polynomial",
    "Quadrature",
    "ReLU",
    "Sin",
    "Tanh",
    "as_activation",
]


def as_activation(activation: Activation | Callable[[Tensor], Tensor]) -> Activation:
    """Return an `Activation` as it is, and any other callable as `Quadrature` of it."""
    return activation if isinstance(activation, Activation) else Quadrature(activation)
