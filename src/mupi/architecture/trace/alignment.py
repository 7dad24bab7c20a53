"""Two values that act on each other coordinate by coordinate: their axes must mean the same."""

from dataclasses import replace

from mupi.architecture.coordinates import Add, Multiply
from mupi.architecture.trace.extents import ONE
from mupi.architecture.trace.layout import BATCH, CHANNELS, Axes, Unreadable, size_of
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.values import Traced


def together(step: Step, operation: Add | Multiply, x: Traced, y: Traced) -> Traced:
    """Two values that act on each other, their positions in the same order."""
    rank = len(step.sizes())
    x, y = (replace(v, axes=((),) * (rank - len(v.axes)) + v.axes) for v in (x, y))
    if not fit(x.axes, y.axes):
        x, y = matched(step, x, y)
    place = step.write(operation, x.place, y.place)
    axes = tuple(a or b for a, b in zip(x.axes, y.axes, strict=True))
    # Positions count from the last, so that names stay.
    return Traced(place, axes)


def fit(x: Axes, y: Axes) -> bool:
    """Whether axes have the same meaning wherever both have some, and none has its positions elsewhere."""
    if any(a and b and a != b for a, b in zip(x, y, strict=True)):
        return False
    where: dict[int, set[int]] = {}
    for axes in (x, y):
        for d, axis in enumerate(axes):
            for atom in axis:
                where.setdefault(atom.axis, set()).add(d)
    names = sorted({atom.axis for axis in (*x, *y) for atom in axis})
    seen = [{d for d, axis in enumerate(axes) if any(a.axis == n for a in axis)} for n in names for axes in (x, y)]
    return all(not a or not b or a == b for a, b in zip(seen[::2], seen[1::2], strict=True))


def matched(step: Step, x: Traced, y: Traced) -> tuple[Traced, Traced]:
    """Two values with positions in the order of the tensor's axes."""
    layer = step.shape(x).is_layer
    if layer != step.shape(y).is_layer:
        raise Unreadable("a layer and a value without an axis of the width")
    moving = [d for d in range(len(x.axes))
              if any(a.axis not in (BATCH, CHANNELS) for v in (x, y) for a in v.axes[d])]  # fmt: skip
    channel = None
    if not layer:
        full = [d for d in range(len(x.axes)) if any(a.axis != BATCH for v in (x, y) for a in v.axes[d])]
        channel, moving = full[-1], full[:-1]
    new = []
    for v in (x, y):
        own = [d for d in moving if size_of(v.axes[d]) != ONE]
        first = moving.index(own[0]) if own else len(moving)
        new.append(step.settled(v, moving[first:], channel))
    if not fit(new[0].axes, new[1].axes):
        raise Unreadable("two values whose axes have different meanings", "bring them into the same order")
    return new[0], new[1]
