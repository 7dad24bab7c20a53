"""A line of a program, the list that it is written to, and how lines are called in formulas and errors."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.programs.operations import Operation

LIBRARIES = str(Path(__file__).parents[1]) + os.sep, str(Path(torch.__file__).parents[1]) + os.sep, "<@"
"""How the files of this library, of others that are installed, and of what these generate begin."""

TRIED: ContextVar[str] = ContextVar("TRIED", default="")
"""The line whose function is being tried; lines that are written meanwhile were captured by the function."""


@dataclass(eq=False, repr=False)
class Line:
    """One line of a program: an operation and its arguments.

    Attributes:
        program: The program that the line is of.
        index: Its place among the program's lines, from 0.
        operation: What it does.
        arguments: With what: earlier lines, and constants.
        probe: Its value on a few numbers; see `mupi.programs.probe`.
        name: Its left-hand side, as printed.
        written: File and line of the user's call that wrote it.
        letter: What its name begins with, if it is given none.
    """

    program: "Listing"
    index: int
    operation: Operation
    arguments: tuple[Any, ...]
    probe: Any
    name: str = ""
    written: tuple[str, int] = ("", 0)
    letter: ClassVar[str] = ""

    def __post_init__(self):
        self.inputs: tuple[Any, ...] = tuple(x for x in self.arguments if isinstance(x, Line))
        """The arguments that are lines."""

    def evaluated(self, space: Any, values: Sequence[Any]) -> Any:
        """Its value in a space from those of its ``inputs``."""
        if len(values) == len(self.arguments):
            return self.operation.compute(space, *values)
        rest = iter(values)
        return self.operation.compute(space, *(next(rest) if isinstance(x, Line) else x for x in self.arguments))

    @property
    def formula(self) -> str:
        """Its right-hand side, as printed."""
        return self.operation.formula(*map(name_of, self.arguments))

    def named(self, name: str):
        """Give the line a name, and return it.

        Raises:
            ValueError: If another line has it.
        """
        self.program.rename(self, name)
        return self

    def described(self) -> str:
        """The line in errors."""
        return self.name

    def __str__(self) -> str:
        return f"line {self.index + 1}: {self.name} = {self.formula}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} = {self.formula}>"


class Listing:
    """The lines of a program, in order."""

    def __init__(self):
        self.lines: list[Line] = []
        self._by_name: dict[str, Line] = {}

    def __repr__(self) -> str:
        kinds = Counter(type(line).__name__ for line in self.lines)
        parts = (f"{count} {PLURALS[kind] if count > 1 else kind.lower()}" for kind, count in kinds.items())
        return f"<{type(self).__name__} of {len(self.lines)} lines: {', '.join(parts) or 'none yet'}>"

    def find(self, name: str) -> Line | None:
        """The line of a name; None if there is none."""
        return self._by_name.get(name)

    def write(self, kind: type, operation: Operation, arguments: tuple[Any, ...], trial: Any, name: str = "") -> Any:
        """Append a line of a kind; ``trial`` is its probe.

        Raises:
            ValueError: If a function that is being tried does it.
        """
        check_not_tried(operation.formula(*map(name_of, arguments)))
        line = kind(self, len(self.lines), operation, arguments, trial, written=_users_call())
        free = f"{kind.letter}{line.index + 1}"
        while free in self._by_name:
            free += "'"
        self.rename(line, name or free)
        self.lines.append(line)
        return line

    def rename(self, line: Line, name: str) -> None:
        """Give a line a name.

        Raises:
            ValueError: If another line has it.
        """
        known = self._by_name.get(name)
        if known is not None and known is not line:
            fail(f"named({name!r})", "a name of its own", f"that of {known}", "choose another")
        if self._by_name.get(line.name) is line:
            del self._by_name[line.name]
        line.name = name
        self._by_name[name] = line

    def forget(self, count: int) -> None:
        """Take back the lines after the first ``count``."""
        for line in self.lines[count:]:
            if self._by_name.get(line.name) is line:
                del self._by_name[line.name]
        del self.lines[count:]

    def next_line(self, formula: str) -> str:
        """What the line to be written is called in errors."""
        return f"line {len(self.lines) + 1}: {formula}"


@contextmanager
def tried(line: str) -> Iterator[None]:
    """While a line's function is tried."""
    token = TRIED.set(line)
    try:
        yield
    except CapturedError as error:
        raise ValueError(*error.args) from None
    finally:
        TRIED.reset(token)


class CapturedError(ValueError):
    """A function that reads a line that it was not given."""


def check_not_tried(formula: str) -> None:
    """Raise unless no function is being tried."""
    if TRIED.get():
        hint = "give the function all lines as arguments: apply(f, x, y)"
        got = f"one that captured a line, for {formula}"
        fail(TRIED.get(), "a function of its arguments alone", got, hint, error=CapturedError)


def _users_call() -> tuple[str, int]:
    """File and line of the call that came from outside the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


PLURALS = {"Vector": "vectors", "Scalar": "scalars", "Matrix": "matrices"}


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
