"""Two correlated standard normals above two thresholds, and the expectation of the product of their ramps."""

from math import pi

import torch
from torch import Tensor
from torch.special import ndtr

TINY = 1e-300
"""In place of 0 in a divisor, where the numerator is 0 too or the quotient's sign is all that counts."""


def density(x: Tensor) -> Tensor:
    """exp(−x²/2)/√(2π)."""
    return torch.exp(-x.square() / 2) / (2 * pi) ** 0.5


def conditional(given: Tensor, threshold: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """(q·given − threshold)/√(1 − q²) and √(1 − q²): with x = given, y − threshold ~ N(q·given − threshold, 1 − q²)."""
    root = ((1 - q) * (1 + q)).clamp_min(TINY).sqrt()
    # 0/TINY is 0, and the huge rest is as good as infinite; the bound keeps its derivative a number.
    return ((q * given - threshold) / root).clamp(-1e8, 1e8), root


class Orthant(torch.autograd.Function):
    """P(x > h, y > k) for standard normals of correlation q and thresholds h, k ≥ 0, in float64, of equal shapes.

    With Owen's T (Owen 1956): ½(Φ(−h) + Φ(−k)) − T(h, (k − qh)/(h√(1 − q²))) − T(k, (h − qk)/(k√(1 − q²))). The
    derivatives are −n(h) P(y > k | x = h), that with h and k exchanged, and the density at (h, k).
    """

    @staticmethod
    def forward(h: Tensor, k: Tensor, q: Tensor) -> Tensor:
        """See the class."""
        from scipy.special import owens_t  # here, as its import takes long

        root = ((1 - q) * (1 + q)).clamp_min(0).sqrt()
        total = (ndtr(-h) + ndtr(-k)) / 2
        for one, other in ((h, k), (k, h)):
            slope = (other - q * one) / (one * root)
            # 0/0: equal thresholds at q = ±1, where T(h, √((1 − q)/(1 + q))) → 0 or ½ min. of tails; or both 0.
            slope = torch.where((slope.isnan()) & (q > 0), torch.zeros_like(slope), slope)
            slope = torch.where(slope.isnan(), torch.full_like(slope, torch.inf), slope)
            total = total - torch.from_numpy(owens_t(one.cpu().numpy(), slope.cpu().numpy())).to(total)
        at_zero = 0.25 + torch.asin(q) / (2 * pi)
        return torch.where((h == 0) & (k == 0), at_zero, total).clamp_min(0)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """Keep the arguments."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def vmap(info, in_dims, *inputs: Tensor) -> tuple[Tensor, int]:
        """Entry by entry, with the new axis first."""
        moved = [
            t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0)
            for t, d in zip(inputs, in_dims, strict=True)
        ]
        return orthant(*moved), 0

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """See the class; made of differentiable functions."""
        h, k, q = ctx.saved_tensors
        y_at_h, root = conditional(h, k, q)
        x_at_k, _ = conditional(k, h, q)
        n_h, n_k = density(h), density(k)
        return -grad * n_h * ndtr(y_at_h), -grad * n_k * ndtr(x_at_k), grad * n_h * density(y_at_h) / root


def orthant(h: Tensor, k: Tensor, q: Tensor) -> Tensor:
    """P(x > h, y > k): see `Orthant`."""
    result = Orthant.apply(*torch.broadcast_tensors(h, k, q))
    assert isinstance(result, Tensor)
    return result


def ramps(h: Tensor, k: Tensor, q: Tensor) -> Tensor:
    """E (x − h)₊ (y − k)₊ = (q + hk) P(x > h, y > k) − k n(h) Φ(a) − h n(k) Φ(b) + √(1 − q²) n(h) n(a).

    By Stein's lemma, twice; a = (qh − k)/√(1 − q²) and b = (qk − h)/√(1 − q²).
    """
    y_at_h, root = conditional(h, k, q)
    x_at_k, _ = conditional(k, h, q)
    n_h, n_k = density(h), density(k)
    inside = (q + h * k) * orthant(h, k, q) - k * n_h * ndtr(y_at_h) - h * n_k * ndtr(x_at_k)
    return inside + root * n_h * density(y_at_h)
