"""Polynomials of normalised pre-activations: kernels with any weights on the degrees."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation
from mupi.activations.hermite_polynomials import hermite_polynomials
from mupi.arrays import takes_numpy
from mupi.checks import fail


@takes_numpy
@dataclass(frozen=True)
class NormalizedPolynomial(Activation):
    """φ(h) = s Σ_k a_k h_k(h/s) with s the root mean square of the layer's pre-activations h.

    At infinite width s = |g|, so E φφ = |b||g| Σ_k a_k² q^k: the weight of each degree is free, as ReLU has
    (1/2π, 1/4, 1/4π, 0, 1/48π, …), and `mupi.Hermite` of the same degree is exact. Not coordinatewise, so φ' and φ''
    have no meaning of their own: `dual_11` and `dual_02` are what Price's theorem makes of them, ∂/∂cov and
    2 ∂/∂var_v of E φφ.

    >>> φ = mupi.NormalizedPolynomial.with_weights(0.0, 0.25, 1.0)  # kernel |b||g|(q/4 + q²)
    >>> float(φ.dual(torch.ones(1), torch.full((1,), 0.5), torch.ones(1)))
    0.375

    Args:
        coefficients: (a_0, …, a_K) in the basis of normalised Hermite polynomials h_k, at least one.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self):
        if not self.coefficients:
            fail("NormalizedPolynomial(coefficients=...)", "at least one number", self.coefficients)

    @property
    def scale_free(self) -> bool:
        """Yes."""
        return True

    def __call__(self, x):
        """s Σ_k a_k h_k(x/s), s taken along the last axis."""
        scale = x.square().mean(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        basis = hermite_polynomials(len(self.coefficients) - 1, x / scale)
        return scale * sum(a * h for a, h in zip(self.coefficients, basis, strict=True))

    def dual_00(self, var_u, cov, var_v):
        """|u||v| Σ_k a_k² q^k."""
        size, q = _polar(var_u, cov, var_v)
        return size * self._series([a * a for a in self.coefficients], q)

    def dual_11(self, var_u, cov, var_v):
        """Σ_k k a_k² q^{k−1}."""
        _, q = _polar(var_u, cov, var_v)
        return self._series([k * a * a for k, a in enumerate(self.coefficients)][1:] or [0.0], q)

    def dual_02(self, var_u, cov, var_v):
        """|u|/|v| Σ_k (1 − k) a_k² q^k."""
        size, q = _polar(var_u, cov, var_v)
        series = self._series([(1 - k) * a * a for k, a in enumerate(self.coefficients)], q)
        return size / var_v.clamp_min(torch.finfo(var_v.dtype).tiny) * series

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k(s) = a_k s."""
        return scale * (self.coefficients[degree] if degree < len(self.coefficients) else 0.0)

    @staticmethod
    def _series(weights: list[float], q: Tensor) -> Tensor:
        total = torch.zeros_like(q)
        for weight in reversed(weights):
            total = total * q + weight
        return total

    @classmethod
    def with_weights(cls, *weights: float) -> "NormalizedPolynomial":
        """The one with kernel |b||g| Σ_k w_k q^k, for weights w_k ≥ 0."""
        if any(w < 0 for w in weights):
            fail("NormalizedPolynomial.with_weights(*weights)", "numbers ≥ 0", weights)
        return cls(tuple(sqrt(w) for w in weights))


def _polar(var_u, cov, var_v):
    """|u||v| and the correlation q, 0 where a variance is."""
    size = (var_u * var_v).clamp_min(0).sqrt()
    return size, (cov / size.clamp_min(torch.finfo(cov.dtype).tiny)).clamp(-1, 1)
