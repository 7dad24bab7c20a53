"""Operations that only order the axes anew, and those that take parts along them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mupi.architecture.positions import Join, Select
from mupi.architecture.trace.extents import Pair, over, times
from mupi.architecture.trace.layout import BATCH, CHANNELS, Axes, Unreadable, narrowed, size_of, viewed, whole
from mupi.architecture.trace.parts import part_of
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.tables import table
from mupi.architecture.trace.values import Anything, Constant, Cut, Padded, Parameter, Scores, Traced

aten = torch.ops.aten


def rearranged(x: Anything, axes: Axes) -> Any:
    """The value with other axes."""
    if isinstance(x, Padded | Constant):
        raise Unreadable("a value with padding that no convolution reads")
    return replace(x, axes=axes)


def axes_of(x: Any) -> Axes:
    """Those of a value."""
    if isinstance(x, Padded):
        raise Unreadable("a value with padding that no convolution reads")
    return x.axes


@translates(aten.view, aten.reshape, aten._unsafe_view, aten.flatten, aten.unflatten, aten.squeeze, aten.unsqueeze)
@translates(aten.view_as, aten.reshape_as, aten.ravel)
def view(step: Step, x: Anything, *_: Any) -> Any:
    """The same numbers in the same order: the sizes of the result say all."""
    return rearranged(x, viewed(axes_of(x), step.sizes()))


@translates(aten.contiguous, aten.clone, aten.alias, aten.positive, aten.lift_fresh_copy, aten.lift_fresh)
def same(step: Step, x: Anything, *_: Any) -> Any:
    """The same numbers."""
    return x


@translates(aten.detach)
def detach(step: Step, x: Anything) -> Any:
    """Stops gradients, of which a description says nothing."""
    raise Unreadable("a value whose gradient is stopped", "leave .detach() out")


@translates(aten.to, aten._to_copy, aten.type_as)
def cast(step: Step, x: Anything, *_: Any) -> Any:
    """Another precision of the same numbers."""
    dtype = step.first.meta["val"].dtype
    is_number = not (isinstance(x, Traced) and step.shape(x).channels is None)
    if dtype.is_floating_point != is_number or dtype.is_complex:
        hint = "embed integers (nn.Embedding), or pass x of a floating dtype"
        raise Unreadable(f"a conversion to {dtype} of {'numbers' if is_number else 'integers'}", hint)
    return x


@translates(aten.transpose, aten.swapaxes, aten.swapdims)
def transpose(step: Step, x: Anything, first: int, second: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(axes_of(x))))
    order[first], order[second] = order[second], order[first]
    return permute(step, x, order)


@translates(aten.t, aten.numpy_T, aten.mT, aten.matrix_H, aten.adjoint)
def transposed(step: Step, x: Anything) -> Any:
    """The axes in reverse order; of mT the last two."""
    order = list(range(len(axes_of(x))))
    if step.called in ("t", "numpy_T"):
        return permute(step, x, order[::-1])
    return permute(step, x, [*order[:-2], order[-1], order[-2]])


@translates(aten.permute)
def permute(step: Step, x: Anything, order: Sequence[int]) -> Any:
    """The axes in another order."""
    axes = axes_of(x)
    return rearranged(x, tuple(axes[i] for i in order))


@translates(aten.movedim, aten.moveaxis)
def movedim(step: Step, x: Anything, source: Any, target: Any) -> Any:
    """Axes moved, the others in their order."""
    rank = len(axes_of(x))
    sources = [i % rank for i in ([source] if isinstance(source, int) else source)]
    targets = [i % rank for i in ([target] if isinstance(target, int) else target)]
    rest = iter(i for i in range(rank) if i not in sources)
    order = [sources[targets.index(i)] if i in targets else next(rest) for i in range(rank)]
    return permute(step, x, order)


@translates(aten.expand, aten.expand_as, aten.broadcast_to)
def expand(step: Step, x: Anything, *_: Any) -> Any:
    """Copies along the batch; others have no meaning of their own until they meet a value with such an axis."""
    batch = step.translation.capture.experiment.batches
    sizes, axes = step.sizes(), axes_of(x)
    axes = ((),) * (len(sizes) - len(axes)) + axes
    result = []
    for axis, size in zip(axes, sizes, strict=True):
        if size_of(axis) == size:
            result.append(axis)
        elif size == batch:
            result.append(whole(BATCH, batch))
        else:
            raise Unreadable("copies along an axis that is not the batch", "let addition broadcast instead")
    return rearranged(x, tuple(result))


def parts(step: Step, x: Anything, dim: int, start: Pair, stop: Pair, keep: bool = True) -> Any:
    """From start to stop along an axis of the tensor.

    Args:
        step: The step of the trace, for what is written and for messages.
        x: The value.
        dim: The axis.
        start: First index.
        stop: First index that is not in it.
        keep: Whether the axis stays.
    """
    axes = axes_of(x)
    dim %= len(axes)
    axis = axes[dim]
    if start == (0, 0) and stop == size_of(axis):
        return x if keep else rearranged(x, axes[:dim] + axes[dim + 1 :])
    if any(atom.axis == BATCH for atom in axis) and not isinstance(x, Parameter):
        raise Unreadable("some samples of the batch", "samples must not see each other")
    if isinstance(x, Parameter):
        new, cut = narrowed(axes, dim, start, stop, keep)
        where = Cut(cut.axis - 1, cut.size, cut.inner, start, stop)
        kept = (stop[0] - start[0], stop[1] - start[1])
        size = tuple(times(over(s, cut.size), kept) if i == cut.axis - 1 else s for i, s in enumerate(x.sizes))
        return replace(x, axes=new, cuts=(*x.cuts, where), sizes=size)
    if not isinstance(x, Traced):
        raise Unreadable("a part of scores or of a moment over the width")
    if step.shape(x).is_layer and axis[0].axis == CHANNELS:
        return part_of(step, x, dim, start, stop, keep)
    if start[0] != start[1] or stop[0] != stop[1]:
        raise Unreadable("positions that depend on the width")
    x = step.plain(x) if not x.is_plain else x
    positions = [d for d, a in enumerate(x.axes) if d != dim and any(t.axis not in (BATCH, CHANNELS) for t in a)]
    channel = None
    if not step.shape(x).is_layer and step.shape(x).channels is not None:
        rest = [d for d, a in enumerate(x.axes) if d != dim and a and a[0].axis != BATCH]
        if not rest:
            raise Unreadable("one number of each input", "give the input an axis for positions, and one for channels")
        channel, positions = rest[-1], rest[:-1]
    x = step.settled(x, [dim, *positions], channel)
    place = step.write(Select(start[0], stop[0] if keep else None), x.place)
    new_axes, old_axes = step.translation.axes(place), step.translation.axes(x.place)
    count = len(step.translation.shape(place).positions)
    result = list(x.axes)
    if keep:
        result[dim] = new_axes[1]
    # Positions count from the last, so that those of the other axes keep their names.
    assert old_axes[2:] == new_axes[1 + keep :] and count == len(positions) + keep
    if not keep:
        del result[dim]
    return Traced(place, tuple(result))


@translates(aten.slice)
def slice_(step: Step, x: Anything, dim: int = 0, start: Any = None, stop: Any = None, by: int = 1) -> Any:
    """x[..., start:stop]."""
    if by != 1:
        raise Unreadable(f"every {by}th of an axis", "use a stride or a pooling")
    size = size_of(axes_of(x)[dim])
    begin = tuple(bound(s, n, 0) for s, n in zip(step.both(start), size, strict=True))
    end = tuple(bound(s, n, n) for s, n in zip(step.both(stop), size, strict=True))
    return parts(step, x, dim, (begin[0], begin[1]), (end[0], end[1]))


def bound(index: int | None, size: int, default: int) -> int:
    """An index of a slice, counted from the start."""
    if index is None:
        return default
    return min(max(index + size if index < 0 else index, 0), size)


@translates(aten.narrow)
def narrow(step: Step, x: Anything, dim: int, start: Any, length: Any) -> Any:
    """x[..., start:start + length]."""
    begin, count = step.both(start), step.both(length)
    return parts(step, x, dim, begin, (begin[0] + count[0], begin[1] + count[1]))


@translates(aten.select)
def select(step: Step, x: Anything, dim: int, index: Any) -> Any:
    """x[..., index]."""
    sizes, indices = size_of(axes_of(x)[dim]), step.both(index)
    start = tuple(i % n for i, n in zip(indices, sizes, strict=True))
    return parts(step, x, dim, (start[0], start[1]), (start[0] + 1, start[1] + 1), keep=False)


@translates(aten.split, aten.chunk, aten.split_with_sizes, aten.tensor_split)
def split(step: Step, x: Anything, how: Any, dim: int = 0) -> list[Any]:
    """Parts that follow one another: the sizes of the results say where they end."""
    count = len(step.first.meta["val"])
    if len(step.second.meta["val"]) != count:
        raise Unreadable("a number of parts that depends on the width")
    result, start = [], (0, 0)
    for i in range(count):
        size = step.sizes(i)[dim]
        stop = (start[0] + size[0], start[1] + size[1])
        result.append(lambda start=start, stop=stop: parts(step, x, dim, start, stop))
        start = stop
    return result


@translates(aten.unbind)
def unbind(step: Step, x: Anything, dim: int = 0) -> list[Any]:
    """Each index of an axis by itself."""
    size = size_of(axes_of(x)[dim])
    return [lambda i=i: parts(step, x, dim, (i, i), (i + 1, i + 1), keep=False) for i in range(step.finite(size))]


@translates(aten.cat, aten.concat, aten.concatenate)
def cat(step: Step, tensors: Sequence[Anything], dim: int = 0) -> Any:
    """Values one after the other along an axis of positions."""
    rank = len(step.sizes())
    dim %= rank
    traced = next((x for x in tensors if isinstance(x, Traced)), None)
    if traced is None or any(isinstance(x, Scores) for x in tensors):
        raise Unreadable("tensors put together of which none is a value that depends on the input")
    layer = step.shape(traced).is_layer
    if any(atom.axis in ((BATCH, CHANNELS) if layer else (BATCH,)) for atom in traced.axes[dim]):
        raise Unreadable("values put together along the width or the batch", "add weights' outputs instead")
    if layer:
        channel = next(d for d, axis in enumerate(traced.axes) if any(a.axis == CHANNELS for a in axis))
    else:
        channel = max(d for d in range(rank) if d != dim)
    batch = next(d for d, axis in enumerate(traced.axes) if any(a.axis == BATCH for a in axis))
    dims = [dim, *(d for d in range(rank) if d not in (dim, channel, batch))]
    values = []
    for x in tensors:
        if isinstance(x, Parameter):
            x = table(step, x, dims, channel)
        if not isinstance(x, Traced):
            raise Unreadable("a fixed tensor put before or behind a value", "make it a parameter")
        values.append(step.settled(step.plain(x), dims, None if layer else channel))
    place = values[0].place
    for x in values[1:]:
        place = step.write(Join(), place, x.place)
    new = step.translation.axes(place)
    axes = list(traced.axes)
    axes[batch] = whole(BATCH, step.translation.capture.experiment.batches)
    for d, axis in zip([*dims, channel], new[1:], strict=True):
        axes[d] = axis
    return Traced(place, tuple(axes))


@translates(aten.stack)
def stack(step: Step, tensors: Sequence[Anything], dim: int = 0) -> Any:
    """As cat, with a new axis."""
    dim %= len(step.sizes())
    longer = [rearranged(x, (*axes_of(x)[:dim], (), *axes_of(x)[dim:])) for x in tensors]
    return cat(step, longer, dim)
