"""How the axes of a tensor are made of those of the value that it holds: einops' algebra, with sizes at two widths.

Views, transposes and the like change nothing but this; the description has no step for them until an operation wants
the value otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mupi.architecture.trace.extents import ONE, Pair, divides, over, times

BATCH, CHANNELS, POSITION, KEYS = 0, -1, -2, -100
"""Axes of a value: its positions count backwards from the last, which is −2; of attention's scores, the keys'."""


@dataclass(frozen=True)
class Atom:
    """A part of an axis of a value: of index i on that axis it is (i // inner) mod size.

    Attributes:
        axis: The axis.
        inner: Product of the sizes of the parts that vary faster.
        size: The size of the part.
    """

    axis: int
    inner: Pair
    size: Pair


Axis = tuple[Atom, ...]
"""An axis of a tensor, the slowest part first; empty for one of size 1."""

Axes = tuple[Axis, ...]


class Unreadable(Exception):
    """A reason why something cannot be translated, and what to do: the step adds where it is.

    Args:
        reason: Why.
        hint: What to do.
    """

    def __init__(self, reason: str, hint: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def whole(axis: int, size: Pair) -> Axis:
    """All of an axis."""
    return () if size == ONE else (Atom(axis, ONE, size),)


def size_of(axis: Axis) -> Pair:
    """The size of an axis of a tensor."""
    size = ONE
    for atom in axis:
        size = times(size, atom.size)
    return size


def joined(atoms: Sequence[Atom]) -> Axis:
    """Parts that follow one another on their axis, put together."""
    result: list[Atom] = []
    for atom in atoms:
        last = result[-1] if result else None
        if last is not None and last.axis == atom.axis and last.inner == times(atom.inner, atom.size):
            result[-1] = Atom(atom.axis, atom.inner, times(last.size, atom.size))
        else:
            result.append(atom)
    return tuple(result)


def viewed(axes: Axes, sizes: Sequence[Pair]) -> Axes:
    """The axes of the same numbers in the same order, of other sizes.

    Raises:
        Unreadable: If an axis of the result would be no product of parts of axes.
    """
    atoms, result = [atom for axis in axes for atom in axis], []
    for size in sizes:
        parts: list[Atom] = []
        while size != ONE:
            if not atoms:
                raise Unreadable(f"a view of other sizes than {[size_of(a) for a in axes]}")
            atom = atoms.pop(0)
            if divides(atom.size, size):
                parts.append(atom)
                size = over(size, atom.size)
            elif divides(size, atom.size):
                rest = over(atom.size, size)
                parts.append(Atom(atom.axis, times(atom.inner, rest), size))
                atoms.insert(0, Atom(atom.axis, atom.inner, rest))
                size = ONE
            else:
                raise Unreadable("a view that cuts an axis where its sizes have no common divisor")
        result.append(joined(parts))
    if atoms:
        raise Unreadable("a view that leaves axes out")
    return tuple(result)


def narrowed(axes: Axes, place: int, start: Pair, stop: Pair, keep: bool) -> tuple[Axes, Atom]:
    """Part of one axis of a tensor, which must be a part of one axis of its value.

    Args:
        axes: All of them.
        place: Which of the axes is cut.
        start: First index.
        stop: First index that is not in it.
        keep: Whether the axis stays; else it has one index and goes.

    Returns:
        The axes, and the part of the value's axis that was cut.
    """
    if len(axes[place]) != 1:
        raise Unreadable("a part of an axis that is made of several")
    (cut,) = axes[place]
    size = (stop[0] - start[0], stop[1] - start[1])

    def moved(atom: Atom) -> Atom:
        outside = atom.axis == cut.axis and divides(times(cut.inner, cut.size), atom.inner) and atom is not cut
        return replace(atom, inner=times(over(atom.inner, cut.size), size)) if outside else atom

    new = [tuple(moved(atom) for atom in axis) for axis in axes]
    new[place] = () if size == ONE else (replace(cut, size=size),)
    if not keep:
        del new[place]
    return tuple(joined(axis) for axis in new), cut
