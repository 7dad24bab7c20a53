"""Inner products of inputs, and what rounding hides of them where inputs are parallel."""

from math import log2

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail, finite, is_eager, non_negative

SQUARES = 2**17
"""How many are held at a time: half a megabyte in float32."""

FEW = 2**10
"""Pairs of which all are compared in less time than those are found that need it."""


def check_inputs(kernel: str, x1: Tensor, x2: Tensor | None) -> None:
    """Raise ``ValueError`` unless both are finite matrices of one floating dtype, device and width d ≥ 1."""
    check_matrix(f"{kernel}(x1)", x1)
    finite(f"{kernel}(x1)", x1)
    if x2 is None or x2 is x1:
        return
    name = f"{kernel}(x2)"
    if not isinstance(x2, Tensor):
        fail(name, "a tensor or an array of shape (m, d)", type(x2).__name__)
    if x2.ndim != 2 or x2.shape[1] != x1.shape[1]:
        fail(name, f"of shape (m, {x1.shape[1]}), as wide as x1", f"shape {tuple(x2.shape)}")
    if (x2.dtype, x2.device) != (x1.dtype, x1.device):
        fail(
            name,
            f"of x1's dtype and device, {x1.dtype} on {x1.device}",
            f"{x2.dtype} on {x2.device}",
            "use x2.to(x1)",
        )
    finite(name, x2)


def check_sigma(argument: str, value: float) -> None:
    """Raise ``ValueError`` unless σ ≥ 0 and σ² is a number."""
    if non_negative(argument, value) > 1e150:
        fail(argument, "a number whose square is finite, up to 1e150", value)


def check_matrix(argument: str, x: Tensor) -> None:
    """Raise ``ValueError`` unless ``x`` is a matrix with a column at least, of a floating dtype."""
    if not isinstance(x, Tensor):
        fail(argument, "a tensor or an array of shape (n, d)", type(x).__name__)
    if x.ndim != 2 or x.shape[1] < 1:
        fail(argument, "of shape (n, d) with d ≥ 1", f"shape {tuple(x.shape)}", "flatten images first")
    if not x.is_floating_point():
        fail(argument, "of a floating dtype", x.dtype, "use x.float()")


def shrunk(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], float]:
    """``x`` and 1; where sums of squares of it overflow, ``x``·s and s, a power of two: that rounds nothing.

    Under a transform of `torch.func`, where values cannot be seen, always the first.
    """
    if not is_eager(x) or torch.isfinite(mean_square(x.detach())).all():
        return x, 1.0
    exponent = int(log2(torch.finfo(x.dtype).max))
    scale = 2.0 ** -(3 * exponent // 8)
    return x * scale, scale


def mean_square(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """|x|²/d of each row, without a copy of all x."""
    rows = max(1, SQUARES * len(x) // max(1, x.numel()))
    return torch.cat([block.square().sum(-1) for block in x.split(rows)]) / x.shape[-1]


def unseen(dtype: torch.dtype) -> float:
    """1 − |correlation| that counts as 0."""
    return 8 * torch.finfo(dtype).eps


def snap_parallel(
    var_u: Float[Tensor, "*#pairs"], cov: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
) -> Float[Tensor, "*#pairs"]:
    """``cov``, with ±√(var_u var_v) where it is that up to the rounding error of an inner product.

    An angle below 4√eps is not resolved by an inner product and two norms, whose sums round differently. Taken as
    it comes, this noise puts a relative error of √eps (1e-4 in float32) on E φ'φ' of a kinked φ at equal inputs.
    The derivative with respect to ``cov`` stays 1.
    """
    excess = cov.detach().abs() - (1 - unseen(cov.dtype)) * var_u.detach().sqrt() * var_v.detach().sqrt()
    eager = is_eager(cov)
    if eager and (excess.numel() == 0 or excess.amax() < 0):
        return cov
    if not eager or cov.numel() <= FEW:
        return cov + torch.where(excess >= 0, _to_parallel(var_u.detach(), cov.detach(), var_v.detach()), 0)
    parallel = (excess >= 0).nonzero(as_tuple=True)
    pairs = (t.detach().expand_as(cov)[parallel] for t in (var_u, cov, var_v))
    shift = torch.zeros_like(cov)
    shift[parallel] = _to_parallel(*pairs)
    return cov + shift


def _to_parallel(var_u: Tensor, cov: Tensor, var_v: Tensor) -> Tensor:
    """What makes ``cov`` the ±√(var_u var_v) nearest to it, or the next number above, at which no angle is left."""
    # In float64 √(a·a) is a, and nothing under- or overflows that is a number in float32.
    product = var_u.double() * var_v.double()
    bound = product.sqrt().to(cov.dtype)
    bound = torch.where(bound.double().square() < product, bound * (1 + torch.finfo(cov.dtype).eps), bound)
    return bound.copysign(cov) - cov
