"""Entries of n × n matrices: what Adam makes of gradients, nonlinear functions of outer products (NE⊗OR⊤).

An entry is a function Q of numbers d_α x_β that belong to its row and its column, so that (Q x)_α/n goes to
E_β Q(d_α x_β) x_β, the mean over an independent copy β of the neuron (Yang & Littwin 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mupi.checks import fail
from mupi.programs.line import Line, describe, name_of, program_of
from mupi.programs.operations import Entrywise, OuterEntries, called
from mupi.programs.probe import ROWS
from mupi.programs.vectors import MatrixLike, Vector


class Entries(Line, MatrixLike):
    """n × n numbers of order one, one for each pair of neurons."""

    letter = "E"

    def described(self) -> str:
        """See `Line`."""
        return f"{self.name} (entries)"


@dataclass(frozen=True)
class OverN(MatrixLike):
    """c Q/n, to be added to a matrix."""

    entries: Entries
    number: float = 1.0

    def __rmul__(self, number: float) -> "OverN":
        return OverN(self.entries, number * self.number)


def entries(d: Vector, x: Vector) -> Entries:
    """Σ_i d_i x_iᵀ over the columns, of which functions can be taken: n times what `mupi.outer` adds to a matrix.

    Raises:
        ValueError: If the two are no vectors of as many columns.
    """
    formula = OuterEntries().formula(name_of(d), name_of(x))
    program = program_of(formula, [d, x])
    if not (isinstance(d, Vector) and isinstance(x, Vector) and d.columns == x.columns):
        fail(program.next_line(formula), "of two vectors of as many columns", f"{describe(d)} and {describe(x)}")
    return program.write(Entries, OuterEntries(), (d, x), d.probe[:ROWS] @ x.probe[:ROWS].T)


def entrywise(f: Callable[..., Tensor], *args: Any, name: str = "") -> Entries:
    """f of entries and numbers, entry by entry.

    Args:
        f: Made of torch operations that act on each entry.
        args: Entries and numbers.
        name: What f is called in the line.

    Raises:
        ValueError: If f does not fit its arguments, or makes something of another shape.
    """
    operation = Entrywise(f, (), called(name, len(args)))
    formula = operation.formula(*map(name_of, args))
    program = program_of(formula, args)
    if not all(isinstance(x, Entries | int | float) for x in args):
        fail(program.next_line(formula), "of entries and numbers", ", ".join(map(describe, args)))
    try:
        trial = operation(*(x.probe if isinstance(x, Line) else x for x in args))
    except (RuntimeError, TypeError, ValueError) as error:
        fail(program.next_line(formula), "of arguments that fit", str(error).splitlines()[0])
    if not isinstance(trial, Tensor) or trial.shape != (ROWS, ROWS):
        fail(program.next_line(formula), "a function of each entry", f"shape {tuple(getattr(trial, 'shape', ()))}")
    return program.write(Entries, operation, tuple(args), trial)


def over_n(q: Entries) -> OverN:
    """What is added to a matrix: c Q/n.

    A step of Adam is ``W - η * over_n(Q)``.
    """
    return OverN(q)
