"""Erf and GELU."""

from dataclasses import dataclass
from math import factorial, pi, prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.activations.determinant import determinant_beside_one


@dataclass(frozen=True)
class Erf(Activation):
    """φ(x) = erf(x).

    With A = 1 + 2 var_u, B = 1 + 2 var_v, D = AB − 4 cov² ≥ 1 (Williams 1997):
    E φφ = (2/π) arcsin(2 cov/√(AB)) = (2/π) arctan(2 cov/√D),  E φ'φ' = 4/(π√D),  E φφ'' = −8 cov/(π B √D).

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> round(float(mupi.Erf().dual(one, one, one)), 4)  # E erf(z)² = (2/π) asin(2/3)
    0.4646
    """

    def __call__(self, x):
        """erf(x)."""
        return torch.erf(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class; the tangent is well-conditioned at parallel vectors, and does not overflow."""
        return torch.atan2(cov, _half_root(var_u, cov, var_v)) * (2 / pi)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        return _half_root(var_u, cov, var_v).reciprocal() * (2 / pi)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        return cov * (-4 / pi / (1 + 2 * var_v)) / _half_root(var_u, cov, var_v)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k = s/√k · E erf'(sz) h_{k−1}(z) for odd k, where erf' is a Gaussian; 0 for even k.

        With t = s√2/√(1 + 2s²): s E erf'(sz) h_j(z) = t √(2/π) (−t²)^{j/2} (j−1)!!/√j! for even j.
        """
        if degree % 2 == 0:
            return torch.zeros_like(scale)
        j = degree - 1
        double_factorial = prod(range(j - 1, 0, -2))
        t = _sine(sqrt(2) * scale)
        return sqrt(2 / pi / degree) * (double_factorial / sqrt(factorial(j))) * t * (-(t**2)) ** (j // 2)


@dataclass(frozen=True)
class GELU(Activation):
    """φ(x) = xΦ(x), with Φ the standard normal distribution function.

    With A = 1 + var_u, B = 1 + var_v, δ = var_u var_v − cov², D = AB − cov² = 1 + var_u + var_v + δ, G = EΦ(u)Φ(v) =
    arctan2(√D, −cov)/2π and N = 1/(2π√D), Stein's lemma gives

    - E φφ   = cov·G + N·(δ + cov² (1/A + 1/B)),

    and ∂/∂cov and 2 ∂/∂var_v of it

    - E φ'φ' = G + N·cov·(1/A + 1/B + 1/D);
    - E φφ'' = N/D · (var_u ((3 + 2 var_u/B)/B − 1) + δ (1 + (3 + var_u + δ + (4 var_u + 2δ)/B)/B)).

    No large numbers cancel in these but where the sum is small for all variances near.

    >>> mupi.GELU()(torch.zeros(2))
    tensor([0., 0.])
    """

    def __call__(self, x):
        """xΦ(x)."""
        return torch.nn.functional.gelu(x)

    def dual_00(self, var_u, cov, var_v):
        """See the class."""
        (a, c, b), det, root, g = _gelu_terms(var_u, cov, var_v)
        rest = det + c.square() * (1 / (1 + a) + 1 / (1 + b))
        return cov * g + (rest / root * (0.5 / pi)).to(cov.dtype)

    def dual_11(self, var_u, cov, var_v):
        """See the class."""
        (a, _, b), _, root, g = _gelu_terms(var_u, cov, var_v)
        inverses = root**-2 + 1 / (1 + a) + 1 / (1 + b)
        return g + (cov * inverses / root * (0.5 / pi)).to(cov.dtype)

    def dual_02(self, var_u, cov, var_v):
        """See the class."""
        (a, _, b), det, root, _ = _gelu_terms(var_u, cov, var_v)
        i = 1 / (1 + b)
        flat = a * ((3 + 2 * a * i) * i - 1)
        steep = det * (1 + (3 + a + det + (4 * a + 2 * det) * i) * i)
        return ((flat + steep) / (2 * pi * root**3)).to(cov.dtype)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k = s (√k e_{k−1} + √(k+1) e_{k+1}), with e_k the coefficients of Φ(sz) = ½ + ½ erf(sz/√2)."""
        above = sqrt(degree + 1) * _normal_cdf_hermite(degree + 1, scale)
        if degree == 0:
            return scale * above
        return scale * (sqrt(degree) * _normal_cdf_hermite(degree - 1, scale) + above)


def erf_half_root(var_u: Pairs, det: Pairs, var_v: Pairs) -> Pairs:
    """√D/2 of `Erf` in the dtype of ``det`` = var_u var_v − cov²."""
    return (det + (0.25 + 0.5 * var_u.to(det.dtype)) + 0.5 * var_v.to(det.dtype)).sqrt()


def _half_root(var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
    """√D/2 of `Erf` in the dtype of ``cov``."""
    return erf_half_root(var_u, determinant_beside_one(var_u, cov, var_v), var_v).to(cov.dtype)


def _gelu_terms(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[tuple[Pairs, Pairs, Pairs], Pairs, Pairs, Pairs]:
    """The arguments, δ and √D of `GELU` in the dtype that δ needs, and G."""
    det = determinant_beside_one(var_u, cov, var_v)
    a, c, b = (t.to(det.dtype) for t in (var_u, cov, var_v))
    root = (det + (1 + a) + b).sqrt()
    return (a, c, b), det, root, torch.atan2(root.to(cov.dtype), -cov) * (0.5 / pi)


def _normal_cdf_hermite(degree: int, scale):
    """E Φ(sz) h_k(z)."""
    if degree == 0:
        return torch.full_like(scale, 0.5)
    return Erf().hermite(degree, scale / sqrt(2)) / 2


def _sine(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """x/√(1 + x²) for x ≥ 0: nothing overflows, and its derivative does not cancel where it is small."""
    large = x > 1
    inverse, small = torch.where(large, x, 1).reciprocal(), torch.where(large, 1, x)
    return torch.where(large, (1 + inverse**2).rsqrt(), small * (1 + small**2).rsqrt())
