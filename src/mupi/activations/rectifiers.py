"""ReLU, LeakyReLU and Abs: the activations αx + β|x|."""

from abc import abstractmethod
from dataclasses import dataclass
from math import factorial, pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation
from mupi.activations.determinant import differentiated, root_and_angle
from mupi.arrays import takes_numpy


class Rectifier(Activation):
    """φ(x) = αx + β|x|.

    With √det = √(var_u var_v − cov²) and θ = atan2(√det, cov), the angle between u and v (Cho & Saul 2009):

    - E φφ   = α² cov + β² (2/π)(√det + cov (π/2 − θ));
    - E φ'φ' = α² + β² (1 − 2θ/π);
    - E φφ'' = β² (2/π) √det / var_v.

    There is no division before the last line, so a zero vector needs no care; there φ'(0) counts as α. Derivatives of
    the last two at parallel vectors are those of their smooth part, see `root_and_angle`.
    """

    @property
    def scale_free(self) -> bool:
        """Yes."""
        return True

    @property
    @abstractmethod
    def odd(self) -> float:
        """α, the weight of x."""

    @property
    @abstractmethod
    def even(self) -> float:
        """β, the weight of |x|."""

    def __call__(self, x):
        """αx + β|x|."""
        return self.odd * x + self.even * x.abs()

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        root, angle = root_and_angle(var_u, cov, var_v)
        return self.odd**2 * cov + self.even**2 * (2 / pi) * (root + cov * (pi / 2 - angle))

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return self.dual_gradient(var_u, cov, var_v)[0]

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return self.dual_gradient(var_u, cov, var_v)[1]

    def dual_gradient(self, var_u, cov, var_v):
        """See the class; one angle serves both."""
        root, angle = root_and_angle(var_u, cov, var_v)
        weight = self.even**2 * (2 / pi)
        dual_11 = self.odd**2 + weight * (pi / 2 - angle)
        return dual_11, weight * root / var_v.clamp_min(torch.finfo(var_v.dtype).tiny)

    def dual_and_slope(self, var_u, cov, var_v):
        """See the class; one angle serves both."""
        if differentiated(var_u, cov, var_v):
            return super().dual_and_slope(var_u, cov, var_v)
        root, angle = root_and_angle(var_u, cov, var_v)
        rest, weight = pi / 2 - angle, self.even**2 * (2 / pi)
        return self.odd**2 * cov + weight * (root + cov * rest), self.odd**2 + weight * rest

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_1 = αs, and c_k = 2βs (−1)^{k/2−1} (k−3)!!/√(2π k!) for even k; the other odd ones vanish."""
        if degree == 1:
            return self.odd * scale
        if degree % 2:
            return torch.zeros_like(scale)
        return 2 * self.even * scale * _half_wave(degree)


def _half_wave(k: int) -> float:
    """E max(z, 0) h_k(z) for even k: (−1)^{k/2−1} (k−3)!!/√(2π k!), with (−3)!! = −1."""
    double_factorial = 1.0  # of k − 3
    for j in range(k - 3, 1, -2):
        double_factorial *= j
    sign = 1 if k == 0 else (-1) ** (k // 2 - 1)
    return sign * double_factorial / sqrt(2 * pi * factorial(k))


@dataclass(frozen=True)
class ReLU(Rectifier):
    """φ(x) = max(x, 0).

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> float(mupi.ReLU().dual(one, one, one)), float(mupi.ReLU().dual(one, -one, one))
    (0.5, 0.0)
    """

    @property
    def odd(self) -> float:
        """α = ½."""
        return 0.5

    @property
    def even(self) -> float:
        """β = ½."""
        return 0.5

    def __call__(self, x):
        """max(x, 0)."""
        return torch.relu(x)


@takes_numpy
@dataclass(frozen=True)
class LeakyReLU(Rectifier):
    """φ(x) = max(x, 0) + slope·min(x, 0).

    >>> mupi.LeakyReLU(0.5)(torch.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])

    Args:
        slope: The slope for negative x.
    """

    slope: float = 0.01

    @property
    def odd(self) -> float:
        """α = (1 + slope)/2."""
        return (1 + self.slope) / 2

    @property
    def even(self) -> float:
        """β = (1 − slope)/2."""
        return (1 - self.slope) / 2


@dataclass(frozen=True)
class Abs(Rectifier):
    """φ(x) = |x|.

    >>> mupi.Abs()(torch.tensor([-2.0, 3.0]))
    tensor([2., 3.])
    """

    @property
    def odd(self) -> float:
        """α = 0."""
        return 0.0

    @property
    def even(self) -> float:
        """β = 1."""
        return 1.0
