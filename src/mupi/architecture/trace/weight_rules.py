"""Linear maps with parameters: dense ones, convolutions, embeddings and tables."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mupi.architecture.draft import Value
from mupi.architecture.positions import Flatten
from mupi.architecture.trace.extents import ONE, Scaling
from mupi.architecture.trace.layout import BATCH, CHANNELS, Axes, Axis, Unreadable, size_of, viewed, whole
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.shape_rules import parts
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.tables import described, table
from mupi.architecture.trace.values import Anything, Constant, Padded, Parameter, Traced
from mupi.architecture.weights import Conv, Dense, Embed

aten = torch.ops.aten


@translates(aten.linear)
def linear(step: Step, x: Anything, weight: Anything, bias: Parameter | None = None) -> Traced:
    """x Wᵀ + b."""
    if not isinstance(weight, Parameter):
        raise Unreadable("a weight that is no parameter of the module", "make it an nn.Parameter")
    return dense(step, x, len(step.sizes()) - 1, weight, weight.axes[0], weight.axes[1], bias)


def dense(
    step: Step, x: Anything, dim: int, weight: Parameter, out: Axis, read: Axis, bias: Parameter | None = None
) -> Traced:
    """A weight that reads an axis of a tensor and puts another in its place.

    Args:
        step: The step of the trace, for what is written and for messages.
        x: What is read.
        dim: The axis.
        weight: The weight.
        out: Its axis of outputs.
        read: Its axis of inputs.
        bias: A bias, of outputs.
    """
    x = table(step, x) if isinstance(x, Parameter) else x
    if not isinstance(x, Traced):
        raise Unreadable(f"a weight that reads {described(x)}")
    if weight.scaling != Scaling() and bias is not None:
        result = dense(step, x, dim, weight, out, read)
        return step.call(aten.add, result, replace(bias, axes=((),) * dim + bias.axes))
    x = step.plain(x)
    if step.shape(x).channels is None:
        raise Unreadable("a weight that reads integers", "embed them first (nn.Embedding)")
    atoms = x.axes[dim]
    positions = [d for d in range(len(x.axes)) if d != dim and any(a.axis not in (BATCH, CHANNELS) for a in x.axes[d])]
    if not step.shape(x).is_layer:
        others = [d for d in range(len(x.axes)) if d != dim and any(a.axis != BATCH for a in x.axes[d])]
        x, reads, place = step.settled(x, others, dim), (read,), None
    elif step.is_whole(atoms, x):
        reads, place = (read,), x.place
    else:
        x, reads, place = flattened(step, x, dim, positions, read)
    size = step.size(size_of(out))
    uses: dict[str, tuple[Parameter, Axes]] = {"weight": (weight, (out, *reads))}
    if bias is not None:
        uses["bias"] = (bias, bias.axes)
    place = step.write(Dense(size, bias is not None), x.place if place is None else place, uses=uses)
    axes = list(x.axes)
    axes[dim] = whole(CHANNELS, size_of(out))
    return Traced(place, tuple(axes), scaling=weight.scaling)


def flattened(
    step: Step, x: Traced, dim: int, others: Sequence[int], read: Axis
) -> tuple[Traced, tuple[Axis, ...], Value]:
    """A layer whose positions are part of the axis that a weight reads, and that axis cut accordingly.

    Returns:
        The value, the weight's axes (positions, channels), and the flattened node.
    """
    atoms = x.axes[dim]
    channels = [a for a in atoms if a.axis == CHANNELS]
    if not channels:
        raise Unreadable("a weight from positions to positions", "mix positions by attention or a convolution")
    if not step.is_whole(channels, x):
        raise Unreadable("a weight that reads a part of the width", "read all of it: heads and groups have no weights")
    if others or any(a.axis == BATCH for a in atoms):
        raise Unreadable("a weight that reads some positions together and others by themselves")
    # Each part an axis of its own, so that positions can be put in this order.
    apart = viewed(x.axes, [size_of(a) for a in x.axes[:dim]] + [a.size for a in atoms] + [
        size_of(a) for a in x.axes[dim + 1 :]])  # fmt: skip
    dims = [dim + i for i, a in enumerate(atoms) if a.axis != CHANNELS]
    settled = step.settled(replace(x, axes=apart), dims)
    reads = viewed((read,), [a.size for a in atoms])
    ordered = [reads[d - dim] for d in dims] + [reads[i] for i, a in enumerate(atoms) if a.axis == CHANNELS]
    place = step.write(Flatten(), settled.place)
    return x, tuple(ordered), place


@translates(aten.conv1d, aten.conv2d)
def conv(
    step: Step,
    x: Anything,
    weight: Anything,
    bias: Parameter | None = None,
    stride: Sequence[int] = (1,),
    padding: Any = (0,),
    dilation: Sequence[int] = (1,),
    groups: Any = 1,
) -> Traced:
    """A convolution over the last one or two axes."""
    if not isinstance(weight, Parameter):
        raise Unreadable("a kernel that is no parameter of the module", "make it an nn.Parameter")
    count = len(weight.axes) - 2
    if step.both(groups) != (1, 1):
        raise Unreadable("a grouped convolution, whose channels do not all meet", "use groups=1")
    if any(d != 1 for d in dilation):
        raise Unreadable(f"a dilation of {tuple(dilation)}", "use dilation=1")
    size = tuple(step.finite(size_of(a)) for a in weight.axes[2:])
    stride = (tuple(stride) * count)[:count]
    mode, added = "zeros", (0,) * count
    if isinstance(x, Padded):
        if len(x.padding) > count and any(x.padding[:-count]):
            raise Unreadable("padding of channels or of the batch")
        mode, added, x = x.mode, (*(0,) * count, *x.padding)[-count:], x.of
    if padding == "same":
        if any(k % 2 == 0 for k in size):
            raise Unreadable("padding='same' for an even kernel, which is not symmetric", "use an odd kernel")
        padding = tuple(k // 2 for k in size)
    elif padding == "valid":
        padding = (0,) * count
    padding = (tuple(padding) * count)[:count]
    if mode == "circular" and any(padding):
        raise Unreadable("two kinds of padding")
    padding = tuple(p + q for p, q in zip(padding, added, strict=True))
    if not isinstance(x, Traced):
        raise Unreadable(f"a convolution of {described(x)}")
    x = spatial(step, step.plain(x), count)
    made = Conv(step.size(size_of(weight.axes[0])), size, stride, padding, mode, bias is not None)
    uses = {"weight": (weight, weight.axes)}
    if bias is not None:
        if weight.scaling != Scaling():
            raise Unreadable("a scaled kernel with a bias", "scale the output")
        uses["bias"] = (bias, bias.axes)
    place = step.write(made, x.place, uses=uses)
    batch, *positions, channels = step.translation.axes(place)
    return Traced(place, (batch, channels, *positions), scaling=weight.scaling)


def spatial(step: Step, x: Traced, count: int) -> Traced:
    """The value with its last axes as its positions, the channels before them, and the batch first."""
    rank = len(x.axes)
    if rank != count + 2 or any(a.axis != BATCH for a in x.axes[0]):
        raise Unreadable(f"{rank} axes", f"give it a batch, channels, and {count} axes of positions")
    x = step.settled(x, range(2, rank), None if step.shape(x).is_layer else 1)
    if step.shape(x).is_layer and not step.is_whole(x.axes[1], x):
        raise Unreadable("channels that are not the width")
    return x


@translates(aten.embedding)
def embedding(
    step: Step, weight: Anything, indices: Anything, padding: int = -1, by_count: bool = False, sparse: bool = False
) -> Traced:
    """Rows of a table: of tokens, or the same for all samples (positions)."""
    if not isinstance(weight, Parameter):
        raise Unreadable("an embedding that is no parameter of the module", "make it an nn.Parameter")
    if padding != -1 or by_count:
        raise Unreadable("an embedding with a row that is not trained", "leave out padding_idx and scale_grad_by_freq")
    rows, out = weight.axes
    size = step.size(size_of(out))
    if isinstance(indices, Traced):
        place = step.write(
            Embed(step.finite(size_of(rows)), size), step.plain(indices).place, uses={"weight": (weight, weight.axes)}
        )
        return Traced(place, (*indices.axes, whole(CHANNELS, size_of(out))), scaling=weight.scaling)
    numbers = indices.first if isinstance(indices, Constant) else None
    if numbers is None or not isinstance(indices, Constant) or indices.second is None:
        raise Unreadable("rows of an embedding that are no tokens of the input and not fixed")
    batch = step.translation.capture.experiment.batches
    axes = tuple(whole(BATCH, batch) if size == batch else () for size in indices.shape)
    index = tuple(slice(1) if axis else slice(None) for axis in axes)
    one, other = numbers[index], indices.second[index]
    alike = torch.equal(one, other) and bool((numbers == one).all() and (indices.second == other).all())
    if not alike:
        raise Unreadable("rows of an embedding that depend on the sample or the width")
    flat = one.flatten()
    if not torch.equal(flat, torch.arange(int(flat[0]), int(flat[0]) + len(flat))):
        raise Unreadable("rows of an embedding that do not follow one another", "use one row for each position")
    start, stop = (int(flat[0]),) * 2, (int(flat[0]) + len(flat),) * 2
    part = parts(step, weight, 0, (start[0], start[1]), (stop[0], stop[1]))
    shape = tuple((n, n) for n in one.shape)
    used = replace(part, axes=(*viewed((part.axes[0],), shape), part.axes[1]))
    dims = [d for d, size in enumerate(shape) if size != ONE]
    found = table(step, used, dims, len(shape))
    return replace(found, axes=tuple(a or b for a, b in zip((*axes, ()), found.axes, strict=True)))
