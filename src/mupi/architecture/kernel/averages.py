"""What a weight averages: the moments that it reads, over its offsets; and moments of data and of embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mupi.activations.determinant import differentiated
from mupi.architecture.weights import Conv
from mupi.checks import is_eager
from mupi.kernels.inner_products import mean_square

FEW_CHANNELS = 16
"""Up to which multiplying them out is faster than a small matrix product for each position."""


def over_offsets(t: Tensor, conv: Conv, axes: Sequence[tuple[int, ...]]) -> Tensor:
    """(1/k²) Σ_o t(stride·p + o − padding, stride·p' + o − padding): both sides see the same entry of the kernel.

    Args:
        t: The moments between positions.
        conv: The convolution.
        axes: For each axis of positions its places in ``t``: one where p = p', else one for each side.
    """
    divisor = 1
    for i, places in enumerate(axes):
        t = _along(t, places, conv.size[i], conv.stride[i], conv.padding[i], conv.mode == "circular")
        divisor *= conv.size[i]
    return t / divisor if divisor > 1 else t


def _along(t: Tensor, axes: tuple[int, ...], size: int, stride: int, padding: int, circular: bool) -> Tensor:
    """Σ_o of the tensor moved by o along all ``axes`` at once."""
    length = t.shape[axes[0]]
    out = (length + 2 * padding - size) // stride + 1
    if circular:
        return _around(t, axes, size, stride, padding, out)
    parts = []
    for o in range(size):
        first = max(0, -((o - padding) // stride))  # the first p with stride·p + o − padding ≥ 0
        last = min(out - 1, (length - 1 + padding - o) // stride)
        if first <= last:
            parts.append((last - first + 1, first, stride * first + o - padding))
    parts.sort(key=lambda part: -part[0])
    total: Tensor | None = None
    for count, first, source in parts:
        piece = t
        for axis in axes:
            piece = _every(piece, axis, source, stride, count)
        if total is not None and is_eager(t):
            _narrowed(total, axes, first, count).add_(piece)
            continue
        pads = [(0, 0)] * t.ndim
        for axis in axes:
            pads[axis] = (first, out - first - count)
        whole = all(pad == (0, 0) for pad in pads)
        if whole and len(parts) > 1 and not differentiated(t):
            total = _sum_of_two(piece, t, axes, parts.pop(1), stride)
            continue
        piece = piece if whole else functional.pad(piece, [k for pad in reversed(pads) for k in pad])
        total = (piece.clone() if whole else piece) if total is None else total + piece
    if total is None:  # every kernel lies in the padding
        total = t.sum(axes, keepdim=True).mul(0).expand(*(out if i in axes else k for i, k in enumerate(t.shape)))
    return total


def _sum_of_two(whole: Tensor, t: Tensor, axes: tuple[int, ...], part: tuple[int, int, int], stride: int) -> Tensor:
    """A whole piece and another of ``t``, without a copy of the former."""
    count, first, source = part
    piece = t
    for axis in axes:
        piece = _every(piece, axis, source, stride, count)
    total = torch.empty_like(whole)
    torch.add(_narrowed(whole, axes, first, count), piece, out=_narrowed(total, axes, first, count))
    for axis in axes:
        for start, stop in ((0, first), (first + count, whole.shape[axis])):
            if stop > start:
                total.narrow(axis, start, stop - start).copy_(whole.narrow(axis, start, stop - start))
    return total


def _narrowed(t: Tensor, axes: tuple[int, ...], start: int, count: int) -> Tensor:
    """``count`` entries from ``start`` along each of some axes."""
    for axis in axes:
        t = t.narrow(axis, start, count)
    return t


def _every(t: Tensor, axis: int, start: int, stride: int, count: int) -> Tensor:
    """Entries ``start``, ``start`` + stride, … along an axis."""
    t = t.narrow(axis, start, stride * (count - 1) + 1)
    return t if stride == 1 else t[(slice(None),) * axis + (slice(None, None, stride),)]


def _around(t: Tensor, axes: tuple[int, ...], size: int, stride: int, padding: int, out: int) -> Tensor:
    """The sum with positions that go around."""
    total: Tensor | None = None
    for o in range(size):
        where = (stride * torch.arange(out, device=t.device) + o - padding) % t.shape[axes[0]]
        piece = t
        for axis in axes:
            piece = piece.index_select(axis, where)
        total = piece if total is None else total + piece
    assert total is not None
    return total


def of_data(x: Tensor, y: Tensor, paired: bool, everywhere: bool) -> Tensor:
    """⟨x(p), y(p')⟩/d of samples (n, …, d), all of one with all of the other, or one by one.

    Args:
        x: Samples of the one side.
        y: Samples of the other.
        paired: Whether sample by sample.
        everywhere: Whether for all p and p', or for p = p'.
    """
    left, right = ("a", "a") if paired else ("a", "b")
    positions = "pqrstu"[: x.ndim - 2]
    others = "vwxyz"[: y.ndim - 2] if everywhere else positions
    batch = "a" if paired else "ab"
    if paired and x is y and not everywhere:
        return mean_square(x)
    if not paired and not everywhere and x.shape[-1] <= FEW_CHANNELS and not differentiated(x, y):
        total = x[:, None, ..., 0] * y[None, ..., 0]
        for i in range(1, x.shape[-1]):
            total.addcmul_(x[:, None, ..., i], y[None, ..., i])
        return total.div_(x.shape[-1])
    out = f"{batch}{positions}{others if everywhere else ''}"
    return torch.einsum(f"{left}{positions}d,{right}{others}d->{out}", x, y) / x.shape[-1]


def of_tokens(x: Tensor, y: Tensor, paired: bool, everywhere: bool, dtype: torch.dtype) -> Tensor:
    """1 where tokens are equal, else 0, as `of_data`."""
    first, second = x.ndim - 1, y.ndim - 1
    if not paired:
        x, y = x.unsqueeze(1), y.unsqueeze(0)
    if everywhere:
        x = x.reshape(*x.shape, *(1,) * second)
        batch = y.ndim - second
        y = y.reshape(*y.shape[:batch], *(1,) * first, *y.shape[batch:])
    return (x == y).to(dtype)


def of_positions(positions: tuple[int, ...], everywhere: bool, like: Tensor) -> Tensor:
    """1 for p = p', else 0."""
    if not everywhere:
        return torch.ones(positions, dtype=like.dtype, device=like.device)
    n = 1
    for size in positions:
        n *= size
    return torch.eye(n, dtype=like.dtype, device=like.device).reshape((*positions, *positions))
