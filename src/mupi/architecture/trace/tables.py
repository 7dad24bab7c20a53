"""Parameters that are values themselves: positional embeddings, class tokens."""

from collections.abc import Sequence

from mupi.architecture.shape import Width
from mupi.architecture.trace.layout import BATCH, Unreadable, size_of
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.values import Parameter, Traced
from mupi.architecture.weights import Table


def table(step: Step, x: Parameter, dims: Sequence[int] | None = None, channel: int | None = None) -> Traced:
    """A parameter as a value, the same for all samples.

    Args:
        step: The step of the trace, for what is written and for messages.
        x: The parameter.
        dims: Axes of the tensor that become positions; None for those that have more than one index.
        channel: The axis of the channels; None for the infinite one, or the last.
    """
    if channel is None:
        own = [d for d, axis in enumerate(x.axes) if all(atom.axis != BATCH for atom in axis)]
        wide = [d for d in own if isinstance(step.size(size_of(x.axes[d])), Width)]
        if len(wide) > 1:
            raise Unreadable("a parameter with two axes of the width that is no weight", "use it in a product")
        ends = [d for d, axis in enumerate(x.axes) if axis and axis[0].axis != BATCH]
        if not ends:
            raise Unreadable("a trained number that multiplies or is added to all coordinates", "fix it, or train a "
                             "vector of the width")  # fmt: skip
        channel = wide[0] if wide else ends[-1]
    if dims is None:
        dims = [d for d, a in enumerate(x.axes) if d != channel and a and a[0].axis != BATCH]
    sizes = tuple(step.finite(size_of(x.axes[d])) for d in dims)
    operation = Table(sizes, step.size(size_of(x.axes[channel])))
    uses = {"weight": (x, (*(x.axes[d] for d in dims), x.axes[channel]))}
    place = step.write(operation, uses=uses)
    new, axes = step.translation.axes(place), list(x.axes)
    for d, axis in zip([*dims, channel], new[1:], strict=True):
        axes[d] = axis
    return Traced(place, tuple(axes), scaling=x.scaling)


def described(x: object) -> str:
    """A value that is none, in a message."""
    kinds = {
        "Traced": "a value",
        "Parameter": "a parameter",
        "Constant": "a fixed tensor",
        "Scores": "attention's products",
        "Moment": "a mean over the width",
        "Centered": "a value less its mean over the width",
        "Padded": "a padded value",
    }
    return kinds.get(type(x).__name__, repr(x))
