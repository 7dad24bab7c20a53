"""Erf and GELU."""

from dataclasses import dataclass
from math import factorial, pi, prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation


@dataclass(frozen=True)
class Erf(Activation):
    """φ(x) = erf(x).

    With A = 1 + 2 var_u, B = 1 + 2 var_v, D = AB − 4 cov² ≥ 1 (Williams 1997):
    E φφ = (2/π) arcsin(2 cov/√(AB)),  E φ'φ' = 4/(π√D),  E φφ'' = −8 cov/(π B √D).
    """

    def __call__(self, x):
        """erf(x)."""
        return torch.erf(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        return 2 / pi * torch.asin((2 * cov / ((1 + 2 * var_u) * (1 + 2 * var_v)).sqrt()).clamp(-1, 1))

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return 4 / pi * _determinant(2 * var_u, 2 * cov, 2 * var_v).rsqrt()

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return -8 / pi * cov / (1 + 2 * var_v) * _determinant(2 * var_u, 2 * cov, 2 * var_v).rsqrt()

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k = s/√k · E erf'(sz) h_{k−1}(z) for odd k, where erf' is a Gaussian; 0 for even k.

        With τ = 1/(1 + 2s²): E erf'(sz) h_j(z) = 2√(τ/π) (τ − 1)^{j/2} (j−1)!!/√j! for even j.
        """
        if degree % 2 == 0:
            return torch.zeros_like(scale)
        j = degree - 1
        double_factorial = prod(range(j - 1, 0, -2))
        shrink = 1 / (1 + 2 * scale**2)
        slope = 2 * (shrink / pi).sqrt() * (-2 * scale**2 * shrink) ** (j // 2)
        return scale / sqrt(degree) * slope * (double_factorial / sqrt(factorial(j)))


@dataclass(frozen=True)
class GELU(Activation):
    """φ(x) = xΦ(x), with Φ the standard normal distribution function.

    With A = 1 + var_u, B = 1 + var_v, D = AB − cov², G = EΦ(u)Φ(v) = ¼ + arcsin(cov/√(AB))/2π and N = 1/(2π√D),
    Stein's lemma gives E φφ = cov·G + N·T with T = var_u var_v + cov² R and R = 1/A + 1/B − 1; the other two are
    ∂/∂cov and 2 ∂/∂var_v of it.
    """

    def __call__(self, x):
        """xΦ(x)."""
        return torch.nn.functional.gelu(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        g, n, t, _, _ = _gelu_terms(var_u, cov, var_v)
        return cov * g + n * t

    def dual_11(self, var_u, cov, var_v):
        """G + N·(cov + 2 cov R + T cov/D)."""
        g, n, t, r, d = _gelu_terms(var_u, cov, var_v)
        return g + n * cov * (1 + 2 * r + t / d)

    def dual_02(self, var_u, cov, var_v):
        """2N·(var_u − cov²/B² − cov²/2B − T A/2D)."""
        _, n, t, _, d = _gelu_terms(var_u, cov, var_v)
        b = 1 + var_v
        return 2 * n * (var_u - (cov / b) ** 2 - cov**2 / (2 * b) - t * (1 + var_u) / (2 * d))

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k = s (√k e_{k−1} + √(k+1) e_{k+1}), with e_k the coefficients of Φ(sz) = ½ + ½ erf(sz/√2)."""
        above = sqrt(degree + 1) * _normal_cdf_hermite(degree + 1, scale)
        if degree == 0:
            return scale * above
        return scale * (sqrt(degree) * _normal_cdf_hermite(degree - 1, scale) + above)


def _determinant(var_u, cov, var_v):
    """(1 + var_u)(1 + var_v) − cov², at least 1; written so that large variances do not cancel."""
    return 1 + var_u + var_v + (var_u * var_v - cov**2).clamp_min(0)


def _gelu_terms(var_u, cov, var_v):
    """G, N, T, R and D of `GELU`."""
    a, b = 1 + var_u, 1 + var_v
    d = _determinant(var_u, cov, var_v)
    g = 0.25 + torch.asin((cov / (a * b).sqrt()).clamp(-1, 1)) / (2 * pi)
    r = 1 / a + 1 / b - 1
    return g, d.rsqrt() / (2 * pi), var_u * var_v + cov**2 * r, r, d


def _normal_cdf_hermite(degree: int, scale):
    """E Φ(sz) h_k(z)."""
    if degree == 0:
        return torch.full_like(scale, 0.5)
    return Erf().hermite(degree, scale / sqrt(2)) / 2
