"""Polynomial activations, for which `Hermite` features of the same degree are exact."""

from dataclasses import dataclass
from math import factorial, prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.arrays import takes_numpy
from mupi.checks import fail


@takes_numpy
@dataclass(frozen=True)
class Polynomial(Activation):
    """φ(x) = Σ_i a_i x^i.

    c_k(s) = s^k p_k(s²) with polynomials p_k, so E φ(u)φ(v) = Σ_k p_k(var_u) p_k(var_v) cov^k: a polynomial too,
    with no division and no edge.

    >>> φ = mupi.Polynomial((1.0, 0.0, 2.0))
    >>> φ(torch.tensor([3.0])), φ.derivative()
    (tensor([19.]), Polynomial(coefficients=(0.0, 4.0)))

    Args:
        coefficients: (a_0, a_1, …, a_K), lowest degree first, at least one.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self):
        if not self.coefficients:
            fail("Polynomial(coefficients=...)", "at least one number", self.coefficients)
        object.__setattr__(self, "coefficients", tuple(float(a) for a in self.coefficients))

    @property
    def scale_free(self) -> bool:
        """Yes."""
        return True

    @property
    def degree(self) -> int:
        """The highest power."""
        return len(self.coefficients) - 1

    def __call__(self, x):
        """Σ_i a_i x^i by Horner's rule."""
        total = torch.zeros_like(x)
        for a in reversed(self.coefficients):
            total = total * x + a
        return total

    def derivative(self) -> "Polynomial":
        """φ' as a polynomial."""
        return Polynomial(tuple(i * a for i, a in enumerate(self.coefficients))[1:] or (0.0,))

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        return _mehler(self, self, var_u, cov, var_v)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        slope = self.derivative()
        return _mehler(slope, slope, var_u, cov, var_v)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return _mehler(self, self.derivative().derivative(), var_u, cov, var_v)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k(s) = s^k p_k(s²)."""
        return scale**degree * self.reduced_hermite(degree, scale**2)

    def reduced_hermite(self, degree: int, var: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """p_k(s²) = Σ_i a_i s^{i−k} E z^i h_k(z), with E z^i He_k(z) = i!/(i−k)! · (i−k−1)!! for even i − k ≥ 0."""
        total = torch.zeros_like(var)
        for i in range(degree, self.degree + 1, 2):
            moment = factorial(i) / factorial(i - degree) * prod(range(i - degree - 1, 0, -2))
            total = total + self.coefficients[i] * moment / sqrt(factorial(degree)) * var ** ((i - degree) // 2)
        return total


def _mehler(first: Polynomial, second: Polynomial, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
    """E first(u) second(v) = Σ_k p_k(var_u) p̃_k(var_v) cov^k."""
    total = torch.zeros_like(var_u * cov * var_v)
    for k in reversed(range(min(first.degree, second.degree) + 1)):
        total = total * cov + first.reduced_hermite(k, var_u) * second.reduced_hermite(k, var_v)
    return total


@dataclass(frozen=True)
class Identity(Polynomial):
    """φ(x) = x: linear networks.

    >>> round(float(mupi.Identity().dual(torch.ones(1), 0.3 * torch.ones(1), torch.ones(1))), 4)
    0.3
    """

    coefficients: tuple[float, ...] = (0.0, 1.0)
