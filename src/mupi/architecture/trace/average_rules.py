"""Means over positions, in blocks or over all, and what is refused in their place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mupi.architecture.positions import AveragePool, Reshape
from mupi.architecture.trace.coordinate_rules import scaled
from mupi.architecture.trace.extents import Scaling
from mupi.architecture.trace.layout import BATCH, CHANNELS, Unreadable, size_of
from mupi.architecture.trace.moments import moment
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.tables import described
from mupi.architecture.trace.values import Anything, Centered, Padded, Traced
from mupi.architecture.trace.weight_rules import spatial

aten = torch.ops.aten


@translates(aten.mean)
def mean(step: Step, x: Anything, dim: Any = None, keep: bool = False, *_: Any) -> Any:
    """A mean over axes."""
    if not isinstance(x, Traced | Centered):
        raise Unreadable(f"a mean of {described(x)}")
    rank = len(x.axes)
    dims = list(range(rank)) if dim is None else [d % rank for d in ([dim] if isinstance(dim, int) else dim)]
    if any(a.axis == BATCH for d in dims for a in x.axes[d]):
        raise Unreadable("a mean over the batch", "samples must not see each other")
    of = x.of if isinstance(x, Centered) else x
    if step.shape(of).is_layer and any(a.axis == CHANNELS for d in dims for a in x.axes[d]):
        return moment(step, x, dims, keep)
    if isinstance(x, Centered):
        raise Unreadable("a mean over positions of a centered value")
    return over_positions(step, x, dims, keep)


@translates(aten.sum)
def total(step: Step, x: Anything, dim: Any = None, keep: bool = False, *_: Any) -> Any:
    """A sum over axes of positions: so many means."""
    if not isinstance(x, Traced):
        raise Unreadable(f"a sum of {described(x)}")
    rank = len(x.axes)
    dims = list(range(rank)) if dim is None else [d % rank for d in ([dim] if isinstance(dim, int) else dim)]
    if any(a.axis in ((BATCH, CHANNELS) if step.shape(x).is_layer else (BATCH,)) for d in dims for a in x.axes[d]):
        raise Unreadable("a sum over the batch or the width", "use a mean over positions, or a weight")
    count = 1
    for d in dims:
        count *= step.finite(size_of(x.axes[d]))
    result = mean(step, x, dims, keep)
    return scaled(step, result, Scaling(float(count))) if isinstance(result, Traced) else result


def over_positions(step: Step, x: Traced, dims: Sequence[int], keep: bool) -> Traced:
    """The mean over axes of positions."""
    x = step.linear(x)
    layer = step.shape(x).is_layer
    if step.shape(x).channels is None:
        raise Unreadable("a mean of integers", "embed them first (nn.Embedding)")
    rest = [d for d, axis in enumerate(x.axes) if d not in dims and any(a.axis != BATCH for a in axis)]
    channel = None
    if not layer:
        if not rest:
            raise Unreadable("a mean over all numbers of a sample", "keep an axis of channels")
        channel, rest = rest[-1], rest[:-1]
    left = [d for d in rest if all(a.axis not in (BATCH, CHANNELS) for a in x.axes[d])] if layer else rest
    over = [d for d in dims if x.axes[d]]
    axes = [() if d in dims else axis for d, axis in enumerate(x.axes)]
    if over:
        if left or not layer:
            x = step.settled(x, [*sorted([*left, *over])], channel)
        place = x.place
        if left:
            order = sorted([*left, *over])
            sizes = step.translation.shape(place).positions
            blocks = tuple(size if d in over else 1 for d, size in zip(order, sizes, strict=True))
            place = step.write(AveragePool(blocks), place)
            kept = tuple(size for d, size in zip(order, sizes, strict=True) if d in left)
            last = step.translation.shape(place).channels
            target = kept if layer else (*kept, last)
            place = step.write(Reshape(target), place)  # pyright: ignore[reportArgumentType]
        else:
            place = step.write(AveragePool(), place)
        new = step.translation.axes(place)
        for d, axis in zip(left, new[1:], strict=False):
            axes[d] = axis
        if channel is not None:
            axes[channel] = new[-1]
        x = replace(x, place=place)
    return replace(x, axes=tuple(axis for d, axis in enumerate(axes) if keep or d not in dims))


@translates(aten.avg_pool1d, aten.avg_pool2d)
def average_pool(
    step: Step,
    x: Anything,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil: bool = False,
    include: bool = True,
    divisor: Any = None,
) -> Any:
    """Means over blocks."""
    count = 1 if "1d" in step.called else 2
    if any(p != 0 for p in ([padding] if isinstance(padding, int) else padding)) or ceil or divisor:
        raise Unreadable("an average pooling with padding, ceil_mode or a divisor", "use blocks without")
    return pooled(step, x, tuple(size), tuple(stride or size), count)


@translates(aten.adaptive_avg_pool1d, aten.adaptive_avg_pool2d)
def adaptive_pool(step: Step, x: Anything, out: Sequence[int]) -> Any:
    """Means over blocks of the size that gives so many."""
    count = 1 if "1d" in step.called else 2
    if not isinstance(x, Traced):
        raise Unreadable(f"a pooling of {described(x)}")
    rank = len(x.axes)
    out = (tuple(out) * count)[:count]
    if all(k == 1 for k in out):
        return over_positions(step, x, list(range(rank - count, rank)), True)
    sizes = [step.finite(size_of(axis)) for axis in x.axes[-count:]]
    if any(n % k for n, k in zip(sizes, out, strict=True)):
        raise Unreadable("an adaptive pooling whose blocks have different sizes", "use sizes that divide")
    blocks = tuple(n // k for n, k in zip(sizes, out, strict=True))
    return pooled(step, x, blocks, blocks, count)


def pooled(step: Step, x: Anything, size: tuple[int, ...], stride: tuple[int, ...], count: int) -> Any:
    """Means over blocks of positions."""
    if not isinstance(x, Traced):
        raise Unreadable(f"a pooling of {described(x)}")
    size, stride = (size * count)[:count], (stride * count)[:count]
    if all(k == 1 for k in (*size, *stride)):
        return x
    x = spatial(step, step.linear(x), count)
    place = step.write(AveragePool(size, stride), x.place)
    batch, *positions, channels = step.translation.axes(place)
    return replace(x, place=place, axes=(batch, channels, *positions))


@translates(aten.max_pool1d, aten.max_pool2d, aten.adaptive_max_pool1d, aten.adaptive_max_pool2d)
@translates(aten.max_pool2d_with_indices)
def max_pool(step: Step, *_: Any) -> Any:
    """Refused."""
    raise Unreadable("a maximum over positions, whose distribution has no closed form", "use average pooling or stride")


@translates(aten.lstm, aten.gru, aten.rnn_tanh, aten.rnn_relu)
def recurrent(step: Step, *_: Any) -> Any:
    """Refused."""
    raise Unreadable("a recurrent network, whose weight meets itself at every step", "write it as a Tensor Program")


@translates(aten.pad, aten.constant_pad_nd)
def pad(step: Step, x: Anything, amounts: Sequence[int], mode: Any = "constant", value: float | None = None) -> Padded:
    """Positions added at the ends of the last axes, for a convolution."""
    if step.called == "constant_pad_nd":
        mode, value = "constant", mode
    if not isinstance(x, Traced):
        raise Unreadable(f"padding of {described(x)}")
    modes = {"constant": "zeros", "circular": "circular"}
    if mode not in modes or (mode == "constant" and value):
        raise Unreadable(f"padding with {mode if mode not in modes else value}", "pad with zeros or circularly")
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    if any(a != b or a < 0 for a, b in pairs):
        raise Unreadable("padding that is not the same at both ends", "pad both ends alike")
    return Padded(step.plain(x), tuple(a for a, _ in pairs), modes[mode])


@translates(aten.upsample_nearest2d, aten.upsample_bilinear2d, aten._upsample_bilinear2d_aa)
def upsample(step: Step, *_: Any) -> Any:
    """Refused."""
    raise Unreadable("positions made by interpolation", "use a network that keeps or reduces positions")
