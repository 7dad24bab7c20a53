"""Parts of a width: a fused weight (q, k and v, or a gate and what it gates) becomes one weight for each part."""

from dataclasses import replace

from mupi.architecture.coordinates import Activate, Add, Dropout, Multiply, Scale
from mupi.architecture.draft import Value
from mupi.architecture.positions import AveragePool, Join, Permute, Reshape, Select
from mupi.architecture.trace.extents import Pair, over, times
from mupi.architecture.trace.layout import CHANNELS, Atom, Axes, Unreadable, joined, narrowed, size_of, viewed
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.values import Cut, Parameter, Traced
from mupi.architecture.weights import Conv, Dense, Embed, Table

POINTWISE = Activate | Add | AveragePool | Dropout | Join | Multiply | Permute | Reshape | Scale | Select
"""What acts on each coordinate of the width by itself, so that a part of it is made of parts of what it reads."""


def part_of(step: Step, x: Traced, dim: int, start: Pair, stop: Pair, keep: bool) -> Traced:
    """From start to stop along an axis of the tensor that is a part of a layer's width."""
    axes, cut = narrowed(x.axes, dim, start, stop, keep)
    if cut.axis != CHANNELS:
        raise Unreadable("a part of an axis of width and positions")
    return replace(x, place=cut_down(step, x.place, cut, start, stop), axes=axes)


def cut_down(step: Step, place: Value, cut: Atom, start: Pair, stop: Pair) -> Value:
    """The node with a part of its width, down to the weights that it is made of."""
    state = step.translation
    known = ("part", place.place, cut, start, stop)
    if known in state.written:
        return state.written[known]
    operation, node = state.operation(place), state.draft.nodes[place.place]
    channels = state.capture.experiment.pair(state.shape(place).channels or 1)
    kept = times(over(channels, cut.size), (stop[0] - start[0], stop[1] - start[1]))
    if isinstance(operation, Dense | Conv | Embed | Table):
        uses = {
            kind: (parameter_part(parameter, axes, kind, operation, cut, start, stop))
            for kind, (parameter, axes) in state.uses[place.place].items()
        }
        made = replace(operation, out=step.size(kept))
        result = step.write(made, *(Value(state.draft, i) for i in node.inputs), uses=uses)
    elif isinstance(operation, POINTWISE):
        inputs = [cut_down(step, Value(state.draft, i), cut, start, stop) for i in node.inputs]
        result = step.write(operation, *inputs)
    else:
        raise Unreadable(f"a part of the width of `{operation}`", "take the part of a weight's output")
    state.written[known] = result
    return result


def parameter_part(
    parameter: Parameter, axes: Axes, kind: str, operation: object, cut: Atom, start: Pair, stop: Pair
) -> tuple[Parameter, Axes]:
    """The part of a weight or bias that makes a part of its output.

    Args:
        parameter: The parameter.
        axes: Its axes in the order of the node's.
        kind: What it is to the node.
        operation: The node's.
        cut: The part of the output's axis.
        start: First index.
        stop: First index that is not in it.
    """
    dim = len(axes) - 1 if isinstance(operation, Embed | Table) else 0
    out = size_of(axes[dim])
    slower = over(out, times(cut.inner, cut.size))
    # The axis of the output in three: what varies slower, what is cut, what varies faster.
    split = viewed(axes[dim : dim + 1], [slower, cut.size, cut.inner])
    new, atom = narrowed((*axes[:dim], *split, *axes[dim + 1 :]), dim + 1, start, stop, keep=True)
    merged = tuple(a for axis in new[dim : dim + 3] for a in axis)
    where = Cut(atom.axis - 1, atom.size, atom.inner, start, stop)
    kept = (stop[0] - start[0], stop[1] - start[1])
    sizes = tuple(
        times(over(size, cut.size), kept) if i == atom.axis - 1 else size for i, size in enumerate(parameter.sizes)
    )
    result = replace(parameter, sizes=sizes, cuts=(*parameter.cuts, where))
    return result, (*new[:dim], joined(merged), *new[dim + 3 :])
