"""Sin and Cos: the random-feature activations whose dual is a Gaussian kernel."""

from dataclasses import dataclass
from math import factorial, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.activations.determinant import differentiated, seen_up_to

SMALL = 80.0
"""Variances up to which neither e^{−var} nor e^{var} leaves the range of float32."""


def _size_and_half_exponential(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs]:
    """|cov| and ½ e^{|cov| − (var_u + var_v)/2}, which does not overflow; large numbers that cancel do so exactly."""
    # Not abs: its slope of 0 at 0 would make second derivatives there 0 too.
    size = torch.where(cov < 0, -cov, cov) if differentiated(cov) else cov.abs()
    return size, torch.exp(((size - var_u) + (size - var_v)) / 2) / 2


def _even(var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
    """E cos(u)cos(v) = e^{−(var_u + var_v)/2} cosh(cov)."""
    if seen_up_to(SMALL, var_u, cov, var_v):
        return torch.exp((var_u + var_v) * -0.5) * torch.cosh(cov)
    size, half = _size_and_half_exponential(var_u, cov, var_v)
    return half + half * torch.exp(-2 * size)


def _odd(var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
    """E sin(u)sin(v) = e^{−(var_u + var_v)/2} sinh(cov): no difference of waves, of which nothing remains at 0."""
    if seen_up_to(SMALL, var_u, cov, var_v):
        return torch.exp((var_u + var_v) * -0.5) * torch.sinh(cov)
    size, half = _size_and_half_exponential(var_u, cov, var_v)
    wave = half * torch.expm1(-2 * size)
    return torch.where(cov < 0, wave, -wave) if differentiated(cov) else wave.copysign_(cov)


def _hermite(degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """|E exp(isz) h_k(z)| = (s exp(−s²/2k))^k/√k! times the sign of i^k: + − for each next pair of degrees."""
    if degree == 0:
        return torch.exp(-(scale**2) / 2)
    return (-1) ** (degree // 2) * (scale * torch.exp(-(scale**2) / (2 * degree))) ** degree / sqrt(factorial(degree))


@dataclass(frozen=True)
class Sin(Activation):
    """φ(x) = sin(x): E φφ = e^{−(var_u + var_v)/2} sinh(cov), E φ'φ' the same with cosh, E φφ'' = −E φφ.

    >>> float(mupi.Sin().hermite(2, torch.ones(())))  # an odd function has no even degrees
    0.0
    """

    def __call__(self, x):
        """sin(x)."""
        return torch.sin(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        return _odd(var_u, cov, var_v)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return Cos().dual_00(var_u, cov, var_v)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return -self.dual_00(var_u, cov, var_v)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """(−1)^{(k−1)/2} s^k e^{−s²/2}/√k! for odd k, else 0."""
        return _hermite(degree, scale) if degree % 2 else torch.zeros_like(scale)


@dataclass(frozen=True)
class Cos(Activation):
    """φ(x) = cos(x): E φφ = e^{−(var_u + var_v)/2} cosh(cov), E φ'φ' the same with sinh, E φφ'' = −E φφ.

    >>> round(float(mupi.Cos().hermite(0, torch.ones(()))), 4)  # E cos(z) = e^{−1/2}
    0.6065
    """

    def __call__(self, x):
        """cos(x)."""
        return torch.cos(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        return _even(var_u, cov, var_v)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return Sin().dual_00(var_u, cov, var_v)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return -self.dual_00(var_u, cov, var_v)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """(−1)^{k/2} s^k e^{−s²/2}/√k! for even k, else 0."""
        return torch.zeros_like(scale) if degree % 2 else _hermite(degree, scale)
