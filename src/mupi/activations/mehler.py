"""Mehler sums: E f(u) g(v) = Σ_k a_k b_k q^k from the Hermite coefficients of f and g, and these from samples."""

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Pairs
from mupi.activations.hermite_polynomials import gauss_hermite, hermite_polynomials
from mupi.torch_internals import is_batched

Function = Callable[[Tensor], Tensor]


def standardize(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """Standard deviations and the correlation, 0 where a variance is 0."""
    scale_u, scale_v = root(var_u), root(var_v)
    tiny = torch.finfo(cov.dtype).tiny
    return scale_u, (cov / (scale_u * scale_v).clamp_min(tiny)).clamp(-1, 1), scale_v


def root(var: Pairs) -> Pairs:
    """√var, at 0 with the derivative 0: that of a mean of directions, where an infinity would become NaN."""
    positive = var > 0
    return torch.where(positive, torch.where(positive, var, 1).sqrt(), 0)


def project(function: Function, scale: Tensor, nodes: int) -> list[Tensor]:
    """E f(sz) h_k(z) for all k < nodes, taken in float64: h_k overflows float32 where its weight underflows."""
    x, w = (t.to(scale.device) for t in gauss_hermite(nodes))
    basis = torch.stack(hermite_polynomials(nodes - 1, x)) * w
    return list((function(scale.double()[..., None] * x) @ basis.T).to(scale).unbind(-1))


def sampled_coefficients(
    weighted: Float[Tensor, "n functions points"], z: Float[Tensor, "n points"], degrees: int
) -> Float[Tensor, "n functions degrees"]:
    """Σ_i f(z_i) h_k(z_i) for all k < ``degrees``, 32 of them in one product."""
    before, now, parts = torch.zeros_like(z), torch.ones_like(z), []
    for start in range(0, degrees, 32):
        some = z.new_empty(len(z), min(32, degrees - start), z.shape[1])
        for k in range(start, start + some.shape[1]):
            some[:, k - start] = now
            before.mul_(-sqrt(k) / sqrt(k + 1)).addcmul_(z, now, value=1 / sqrt(k + 1))
            before, now = now, before
        parts.append(weighted @ some.mT)
    return torch.cat(parts, -1)


def mehler_sum(first: Sequence[Tensor], correlation: Pairs, second: Sequence[Tensor]) -> Pairs:
    """Σ_k a_k b_k q^k by Horner's rule, without the tail of terms below the rounding error."""
    if correlation.numel() == 0 or first[0].numel() == 0 or second[0].numel() == 0:
        return first[0] * correlation * second[0]
    sizes = torch.stack([a.abs().amax() * b.abs().amax() for a, b in zip(first, second, strict=True)])
    keep = len(first)
    if not is_batched(sizes):  # there all terms are taken, as each of the batch has its own that count
        if not sizes.any():
            return 0 * (first[0] * correlation * second[0])
        keep = int(torch.nonzero(sizes >= torch.finfo(sizes.dtype).eps / 100 * sizes.amax())[-1]) + 1
    total = torch.zeros_like(correlation)
    for a, b in zip(reversed(first[:keep]), reversed(second[:keep]), strict=True):
        total = total * correlation + a * b
    return total
