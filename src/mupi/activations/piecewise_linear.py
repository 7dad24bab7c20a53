"""Piecewise linear activations with kinks anywhere: hard tanh, ReLU6, shrinkage, shifted rectifiers."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import ndtr

from mupi.activations.activation import Activation, Pairs
from mupi.activations.orthant import conditional, density, orthant, ramps
from mupi.arrays import takes_numpy
from mupi.checks import fail

FAR = 1e6
"""Kinks further than this many standard deviations are not seen; the bound keeps quotients finite."""


@takes_numpy
@dataclass(frozen=True)
class PiecewiseLinear(Activation):
    """φ(x) = a + bx + Σ_i Δ_i ρ_i(x), ρ_i = max(x − t_i, 0) for t_i ≥ 0 and max(t_i − x, 0) for t_i < 0.

    A continuous function with kinks t_i, at which its slope rises by Δ_i; a + bx is its piece at 0 (left of a kink at
    0). E ρ_i(u)ρ_j(v) is that of two ramps of correlated Gaussians, and E ρ_i'(u)ρ_j'(v) up to sign the probability of
    a quadrant, both in closed form with Owen's T (Owen 1956): exact at every variance. Computed in float64.

    >>> mupi.PiecewiseLinear(((1.0, 1.0),))(torch.tensor([0.0, 1.0, 3.0]))  # max(x − 1, 0)
    tensor([0., 0., 2.])

    Args:
        kinks: (t_i, Δ_i), at different t_i.
        constant: The constant a.
        slope: The slope b at 0.

    Raises:
        ValueError: If two kinks are at one place.
    """

    kinks: tuple[tuple[float, float], ...]
    constant: float = 0.0
    slope: float = 0.0

    def __post_init__(self):
        kinks = tuple((float(t), float(change)) for t, change in self.kinks)
        if len({t for t, _ in kinks}) < len(kinks):
            fail("PiecewiseLinear(kinks=...)", "pairs (place, change of slope), at different places", kinks)
        object.__setattr__(self, "kinks", kinks)

    def __call__(self, x):
        """φ(x)."""
        total = self.constant + self.slope * x
        for t, change in self.kinks:
            total = total + change * torch.relu(x - t if t >= 0 else t - x)
        return total

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        s_u, q, s_v = _standardized(var_u, cov, var_v)
        a, b = self.constant, self.slope
        total = a * a + b * b * s_u * q * s_v
        for t, change in self.kinks:
            for s, other in ((s_u, s_v), (s_v, s_u)):
                h = _threshold(t, s)
                mean = s * (density(h) - h * ndtr(-h))
                total = total + change * (a * mean + b * _side(t) * q * s * other * ndtr(-h))
        for t, change in self.kinks:
            for t2, change2 in self.kinks:
                product = ramps(_threshold(t, s_u), _threshold(t2, s_v), _side(t) * _side(t2) * q)
                total = total + change * change2 * s_u * s_v * product
        return total.to(cov)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        s_u, q, s_v = _standardized(var_u, cov, var_v)
        total = self.slope**2 + 0 * q
        for t, change in self.kinks:
            weight = self.slope * change * _side(t)
            total = total + weight * (ndtr(-_threshold(t, s_u)) + ndtr(-_threshold(t, s_v)))
            for t2, change2 in self.kinks:
                sides = _side(t) * _side(t2)
                both = orthant(_threshold(t, s_u), _threshold(t2, s_v), sides * q)
                total = total + change * change2 * sides * both
        return total.to(cov)

    def dual_02(self, var_u, cov, var_v):
        """Σ_j Δ_j n(t_j/|v|)/|v| E[φ(u) | v = t_j]."""
        s_u, q, s_v = _standardized(var_u, cov, var_v)
        total = 0 * q
        for t, change in self.kinks:
            # At a zero variance the delta function of a kink at 0 has no value; its mean over directions is 0.
            at = change * torch.where(s_v > 0, density(_threshold(t, s_v)) / s_v.clamp_min(1e-150), 0 * s_v)
            k = _side(t) * _threshold(t, s_v)
            mean = self.constant + self.slope * s_u * q * k
            for t2, change2 in self.kinks:
                h, side = _threshold(t2, s_u), _side(t2)
                ahead, root = conditional(k, h, side * q)
                mean = mean + change2 * s_u * ((side * q * k - h) * ndtr(ahead) + root * density(ahead))
            total = total + at * mean
        return total.to(cov)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """s n(t/s) h_{k−2}(t/s)/√(k(k−1)) of each ramp for k ≥ 2; its mean, and its mean slope times s, before."""
        s = scale.double()
        total = 0 * s + (self.constant if degree == 0 else self.slope * s if degree == 1 else 0.0)
        for t, change in self.kinks:
            h = _threshold(t, s)
            if degree == 0:
                part = s * (density(h) - h * ndtr(-h))
            elif degree == 1:
                part = _side(t) * s * ndtr(-h)
            else:
                wave = _weighted_hermite(degree - 2, h) * _side(t) ** degree
                part = s * wave / sqrt(degree * (degree - 1))
            total = total + change * part
        return total.to(scale)


def _side(t: float) -> int:
    """On which side of 0 a kink's ramp rises."""
    return 1 if t >= 0 else -1


def _threshold(t: float, scale: Tensor) -> Tensor:
    """|t|/s."""
    return (abs(t) / scale.clamp_min(1e-150)).clamp_max(FAR)


def _standardized(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """Standard deviations and correlation in float64; the correlation is 0 where a variance is."""
    s_u, s_v = (v.double().clamp_min(0).sqrt() for v in (var_u, var_v))
    size = (var_u.double() * var_v.double()).clamp_min(0).sqrt()  # exactly |cov| of equal and of opposite vectors
    return s_u, torch.where(size > 0, cov.double() / size.clamp_min(1e-300), 0 * cov.double()).clamp(-1, 1), s_v


def _weighted_hermite(degree: int, x: Tensor) -> Tensor:
    """n(x) h_k(x), by the recursion of h_k on numbers that do not overflow."""
    before, now = torch.zeros_like(x), density(x.clamp_max(40.0))
    for k in range(degree):
        before, now = now, (x * now - sqrt(k) * before) / sqrt(k + 1)
    return torch.where(x < 38, now, torch.zeros_like(now))
