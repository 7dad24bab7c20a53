"""A line of a program, the list that it is written to, and how lines are written in formulas and errors."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from mupi.checks import fail

SYMBOLS = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.matmul: "{} @ {}",
    operator.pow: "{} ** {}",
    operator.neg: "-{}",
}
"""How arithmetic is written."""


@dataclass(eq=False)
class Line:
    """One line of a program.

    Attributes:
        program: The program that the line is of.
        index: Its place among the program's lines, from 0.
        formula: Its right-hand side, as printed.
        inputs: The lines that it needs.
        compute: Its value in a space from those of its inputs.
        probe: Its value on a few numbers; see `mupi.programs.probe`.
        name: Its left-hand side, as printed.
        letter: What its name begins with, if it is given none.
    """

    program: "Listing"
    index: int
    formula: str
    inputs: tuple["Line", ...]
    compute: Callable[..., Any]
    probe: Any = field(repr=False)
    name: str = ""
    letter: ClassVar[str] = ""

    def named(self, name: str):
        """Give the line a name, and return it.

        Raises:
            ValueError: If another line has it.
        """
        for line in self.program.lines:
            if line.name == name and line is not self:
                fail(f"named({name!r})", "a name of its own", f"that of {line}", "choose another")
        self.name = name
        return self

    def described(self) -> str:
        """The line in errors."""
        return self.name

    def __str__(self) -> str:
        return f"line {self.index + 1}: {self.name} = {self.formula}"


class Listing:
    """The lines of a program, in order."""

    def __init__(self):
        self.lines: list[Line] = []

    def write(
        self,
        kind: type,
        formula: str,
        inputs: tuple[Line, ...],
        compute: Callable[..., Any],
        trial: Any = None,
        name: str = "",
    ) -> Any:
        """Append a line of a kind; ``trial`` is its probe."""
        line = kind(self, len(self.lines), formula, inputs, compute, trial)
        line.name = f"{kind.letter}{line.index + 1}"
        if name:
            line.named(name)
        self.lines.append(line)
        return line

    def next_line(self, formula: str) -> str:
        """What the line to be written is called in errors."""
        return f"line {len(self.lines) + 1}: {formula}"


def program_of(formula: str, args: Sequence[object]) -> Listing:
    """The one program that all arguments belong to.

    Raises:
        ValueError: If there is none, or more than one.
    """
    programs = {id(x.program): x.program for x in args if isinstance(x, Line)}
    if not programs:
        fail(formula, "of vectors, matrices and scalars of a program", ", ".join(map(describe, args)))
    if len(programs) > 1:
        fail(formula, "of lines of one program", "lines of two, whose widths may differ", "write all in one Program")
    return next(iter(programs.values()))


def formula_of(f: Callable[..., Any], args: Sequence[object]) -> str:
    """How an operation is written."""
    names = [name_of(x) for x in args]
    return SYMBOLS[f].format(*names) if f in SYMBOLS else f"{getattr(f, '__name__', 'f')}({', '.join(names)})"


def name_of(x: object) -> str:
    """An argument in a formula."""
    if isinstance(x, Line):
        return x.name
    if isinstance(x, Tensor):
        return f"{x.item():g}" if x.numel() == 1 else f"<{'×'.join(map(str, x.shape))}>"
    return f"{x:g}" if isinstance(x, float) else str(x)


def describe(x: object) -> str:
    """An argument in an error."""
    match x:
        case Line():
            return x.described()
        case Tensor():
            return f"constants of shape {tuple(x.shape)}"
        case _:
            return repr(x)
