"""Expectations over a pair of Gaussians by nested quadrature, exact for functions that have a kink at 0."""

from collections.abc import Callable, Sequence
from math import acos, pi, sqrt

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def expectation(f: Callable[[Tensor, Tensor], Tensor], var_u: float, cov: float, var_v: float) -> float:
    """E f(u, v), where f may have kinks or jumps at u = 0 and at v = 0 only.

    In polar coordinates of two independent normals, u = s_u ρ cos θ and v = s_v ρ cos(θ − angle): the kinks lie on
    four rays. Between two rays the integrand is smooth, and Gauss–Legendre quadrature converges exponentially.
    """
    scale_u, scale_v = sqrt(var_u), sqrt(var_v)
    angle = acos(max(-1.0, min(1.0, cov / (scale_u * scale_v)))) if var_u and var_v else pi / 2
    rays = np.sort(np.mod([pi / 2, -pi / 2, angle + pi / 2, angle - pi / 2], 2 * pi))
    rays = np.append(rays, rays[0] + 2 * pi)
    ρ, ρ_weight = _legendre([0, 1, 3, 6, 14], 60)
    ρ_weight = ρ_weight * ρ * np.exp(-(ρ**2) / 2) / (2 * pi)
    total = 0.0
    for start, end in zip(rays[:-1], rays[1:], strict=True):
        if end - start < 1e-15:
            continue
        θ, θ_weight = _legendre([start, end], 80)
        u = torch.from_numpy(scale_u * np.outer(ρ, np.cos(θ)))
        v = torch.from_numpy(scale_v * np.outer(ρ, np.cos(θ - angle)))
        total += float(torch.from_numpy(ρ_weight) @ f(u, v) @ torch.from_numpy(θ_weight))
    return total


def moments(
    φ: Function, var_u: float, cov: float, var_v: float, other: Function | None = None
) -> tuple[float, float, float]:
    """E φ(u)φ(v), E φ'(u)φ'(v) and E φ(u)φ''(v), with φ' by autograd and no φ''; ``other`` takes v, if it is given.

    By Stein's lemma E v φ(u)φ'(v) = cov E φ'(u)φ'(v) + var_v E φ(u)φ''(v), which holds for kinks too.
    """
    other = φ if other is None else other
    slope_u, slope_v = derivative(φ), derivative(other)
    value = expectation(lambda u, v: φ(u) * other(v), var_u, cov, var_v)
    slopes = expectation(lambda u, v: slope_u(u) * slope_v(v), var_u, cov, var_v)
    stein = expectation(lambda u, v: v * φ(u) * slope_v(v), var_u, cov, var_v)
    return value, slopes, (stein - cov * slopes) / var_v


def hermite_coefficient(φ: Function, degree: int, scale: float) -> float:
    """E φ(sz) h_k(z), each half-line by itself, with h_k from its explicit series."""
    z, weight = _legendre([-14, -6, -3, -1, 0, 1, 3, 6, 14], 60)
    weight = weight * np.exp(-(z**2) / 2) / sqrt(2 * pi)
    he = np.polynomial.hermite_e.hermeval(z, [0] * degree + [1])
    factorial = float(np.prod(np.arange(1, degree + 1))) if degree else 1.0
    return float((φ(torch.from_numpy(scale * z)).numpy() * he * weight).sum() / sqrt(factorial))


def derivative(φ: Function) -> Function:
    """φ' by autograd."""

    def slope(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (d,) = torch.autograd.grad(φ(x).sum(), x)
        return d

    return slope


def _legendre(ends: Sequence[int | float], nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes and weights on each of the intervals between ``ends``."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    starts, widths = np.array(ends[:-1]), np.diff(ends)
    points = starts[:, None] + widths[:, None] * (x + 1) / 2
    return points.ravel(), (widths[:, None] * w / 2).ravel()
