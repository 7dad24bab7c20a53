"""Any callable as an activation, its expectations by Gauss–Hermite quadrature."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.activations.hermite import gauss_hermite, hermite_polynomials
from mupi.checks import fail

SMALL_SCALE = 1e-5

Coefficients = list[Float[Tensor, "*#pairs"]]


@dataclass(frozen=True)
class Quadrature(Activation):
    """A coordinatewise function φ, its Hermite coefficients c_k(s) taken by quadrature.

    The duals are Mehler sums: E φφ = Σ_k c_k c_k q^k, E φ'φ' = Σ_k c'_k c'_k q^k with c'_k(s) = E φ'(sz) h_k(z),
    and E φφ'' = Σ_k c_k c''_k q^k with c''_k(s) = √(k+1) c'_{k+1}(s)/s by Stein's lemma, so that φ'' is never
    evaluated and a kink in φ does no harm. The sum at q = ±1 equals the one-dimensional quadrature. For analytic φ
    the error falls exponentially in √nodes (tanh at variance 1, 128 nodes: 1e-10 and better); with a kink it
    falls only like 1/nodes.

    Args:
        function: φ on tensors, coordinatewise, made of torch operations (φ' is taken by autograd).
        nodes: Number of quadrature nodes, 2 to 150.
    """

    function: Callable[[Tensor], Tensor]
    nodes: int = 128

    def __post_init__(self):
        if not callable(self.function):
            fail("Quadrature(function=...)", "a callable on tensors", repr(self.function))
        if not 2 <= self.nodes <= 150:
            fail("Quadrature(nodes=...)", "between 2 and 150", self.nodes)

    def __call__(self, x):
        """φ(x)."""
        return self.function(x)

    def dual_00(self, var_u, cov, var_v):
        """Σ_k c_k(|u|) c_k(|v|) q^k."""
        scale_u, correlation, scale_v = _standardise(var_u, cov, var_v)
        return _mehler_sum(self._coefficients(scale_u), correlation, self._coefficients(scale_v))

    def dual_11(self, var_u, cov, var_v):
        """Σ_k c'_k(|u|) c'_k(|v|) q^k."""
        scale_u, correlation, scale_v = _standardise(var_u, cov, var_v)
        return _mehler_sum(self._slope_coefficients(scale_u), correlation, self._slope_coefficients(scale_v))

    def dual_02(self, var_u, cov, var_v):
        """Σ_k c_k(|u|) c''_k(|v|) q^k."""
        scale_u, correlation, scale_v = _standardise(var_u, cov, var_v)
        # c'_{k+1}(s)/s has a limit at s = 0, which the quotient reaches long before rounding spoils it.
        scale_v = scale_v.clamp_min(SMALL_SCALE)
        slope = self._slope_coefficients(scale_v)
        second = [sqrt(k + 1) * slope[k + 1] / scale_v for k in range(self.nodes - 1)]
        return _mehler_sum(self._coefficients(scale_u)[:-1], correlation, second)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Σ_i w_i φ(s x_i) h_k(x_i)."""
        x, w = (t.to(scale.device) for t in gauss_hermite(self.nodes))
        basis = w * hermite_polynomials(degree, x)[degree]
        wide = scale.double()
        coefficient = self.function(wide[..., None] * x) @ basis
        # Near 0, where c_k(s)/s is wanted, rounding of φ(0) would be divided by s: the tangent there is exact enough.
        zero = torch.zeros_like(wide)
        slope = torch.func.grad(lambda x: self.function(x).sum())(zero)
        tangent = self.function(zero) if degree == 0 else slope * wide if degree == 1 else zero
        return torch.where(wide < SMALL_SCALE, tangent, coefficient).to(scale)

    def _coefficients(self, scale: Tensor) -> Coefficients:
        """c_0(s), …, c_{Q−1}(s)."""
        return _project(self.function, scale, self.nodes)

    def _slope_coefficients(self, scale: Tensor) -> Coefficients:
        """c'_0(s), …, c'_{Q−1}(s)."""
        return _project(torch.func.grad(lambda x: self.function(x).sum()), scale, self.nodes)


def _standardise(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """Standard deviations and the correlation, 0 where a variance is 0."""
    scale_u, scale_v = var_u.clamp_min(0).sqrt(), var_v.clamp_min(0).sqrt()
    tiny = torch.finfo(cov.dtype).tiny
    return scale_u, (cov / (scale_u * scale_v).clamp_min(tiny)).clamp(-1, 1), scale_v


def _project(function: Callable[[Tensor], Tensor], scale: Tensor, nodes: int) -> Coefficients:
    """E f(sz) h_k(z) for all k < nodes, taken in float64: h_k overflows float32 where its weight underflows."""
    x, w = (t.to(scale.device) for t in gauss_hermite(nodes))
    basis = torch.stack(hermite_polynomials(nodes - 1, x)) * w
    return list((function(scale.double()[..., None] * x) @ basis.T).to(scale).unbind(-1))


def _mehler_sum(first: Coefficients, correlation: Pairs, second: Coefficients) -> Pairs:
    """Σ_k a_k b_k q^k by Horner's rule, without the tail of terms below the rounding error."""
    if correlation.numel() == 0 or first[0].numel() == 0 or second[0].numel() == 0:
        return first[0] * correlation * second[0]
    sizes = torch.stack([a.abs().amax() * b.abs().amax() for a, b in zip(first, second, strict=True)])
    keep = int(torch.nonzero(sizes >= torch.finfo(sizes.dtype).eps / 100 * sizes.amax())[-1]) + 1
    total = torch.zeros_like(correlation)
    for a, b in zip(reversed(first[:keep]), reversed(second[:keep]), strict=True):
        total = total * correlation + a * b
    return total
