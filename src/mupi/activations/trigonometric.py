"""Sin and Cos: the random-feature activations whose dual is a Gaussian kernel."""

from dataclasses import dataclass
from math import factorial, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs


def _waves(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs]:
    """E cos(u − v) = exp(cov − (var_u + var_v)/2) and E cos(u + v)."""
    mean = (var_u + var_v) / 2
    return torch.exp(cov - mean), torch.exp(-cov - mean)


def _hermite(degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """|E exp(isz) h_k(z)| = s^k exp(−s²/2)/√k! times the sign of i^k: + − for each next pair of degrees."""
    return (-1) ** (degree // 2) * scale**degree * torch.exp(-(scale**2) / 2) / sqrt(factorial(degree))


@dataclass(frozen=True)
class Sin(Activation):
    """φ(x) = sin(x): E φφ = e^{−(var_u + var_v)/2} sinh(cov), E φ'φ' the same with cosh, E φφ'' = −E φφ."""

    def __call__(self, x):
        """sin(x)."""
        return torch.sin(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        minus, plus = _waves(var_u, cov, var_v)
        return (minus - plus) / 2

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
    """φ(x) = cos(x): E φφ = e^{−(var_u + var_v)/2} cosh(cov), E φ'φ' the same with sinh, E φφ'' = −E φφ."""

    def __call__(self, x):
        """cos(x)."""
        return torch.cos(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        minus, plus = _waves(var_u, cov, var_v)
        return (minus + plus) / 2

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return Sin().dual_00(var_u, cov, var_v)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return -self.dual_00(var_u, cov, var_v)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """(−1)^{k/2} s^k e^{−s²/2}/√k! for even k, else 0."""
        return torch.zeros_like(scale) if degree % 2 else _hermite(degree, scale)
