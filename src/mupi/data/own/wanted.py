"""Which columns of a table are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mupi.checks import fail
from mupi.data.own.raw import Raw, RawTable
from mupi.data.own.words import as_numbers

FEWEST_OUT_OF_ORDER = 20
"""Of fewer rows numbers may well be each another, and all near to one another, by chance."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a file.

    Attributes:
        target: The column of a table that is to be learned; None where that is known without.
        ignore: Columns of a table to leave out.
        only: Columns that a table must have, all others being left out; None for all that it has.
        size: Pixels of a side that images are scaled to; None to leave them as they are.
        argument: What the file is called in messages.
    """

    target: str | None = None
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    size: int | None = None
    argument: str = "data"

    def columns(self, names: Sequence[str], source: str) -> tuple[list[str], tuple[str, ...]]:
        """The columns to read of a table, the target too if it is there, and what the user is to know.

        Args:
            names: Of all its columns.
            source: The table, for messages.

        Raises:
            ValueError: If two have one name, or a column that was asked for is not there.
        """
        if self.only == ():
            fail(self.argument, "of images, as in training", f"`{source}`, a table")
        if twice := sorted({name for name in names if list(names).count(name) > 1}):
            fail(self.argument, "a table whose columns have a name each", f"`{source}` with two columns `{twice[0]}`")
        if self.only is None:
            for field, asked in (("target", [self.target]), ("ignore", self.ignore)):
                for name in asked:
                    if name is not None and name not in names:
                        fail(field, f"a column of `{source}` ({listed(names)})", repr(name))
            if self.target in self.ignore:
                fail("ignore", "other columns than the target", repr(self.target))
            return [name for name in names if name not in self.ignore], ()
        if missing := [name for name in self.only if name not in names]:
            must = "a table with the columns of training"
            fail(self.argument, must, f"`{source}` without {listed(missing)}", f"it has {listed(names)}")
        kept = [name for name in names if name in self.only or name == self.target]
        others = [name for name in names if name not in kept]
        return kept, (f"columns that training did not read are left out: {listed(others)}",) if others else ()


def taken_apart(source: str, columns: Mapping[str, np.ndarray], wanted: Wanted, notes: tuple[str, ...]) -> Raw:
    """A table as inputs and, if it is there, the target among its columns.

    Raises:
        ValueError: If no target is named, or no column is left.
    """
    inputs = dict(columns)
    if wanted.target is None and wanted.only is None:
        got = f"none; `{source}` has {listed(list(columns))}"
        fail("target", "given for a table: the name of the column to learn", got)
    target = None if wanted.target is None else inputs.pop(wanted.target, None)
    if not inputs:
        fail(wanted.argument, "a table with columns beside the target", f"`{source}` with none")
    if wanted.only is None and (numbering := [name for name, values in inputs.items() if _numbers_rows(values)]):
        hint = f"leave out what is no property of theirs with --ignore {' '.join(numbering)}"
        notes = (
            *notes,
            f"columns that number the rows, and tell those of a sorted table apart: {listed(numbering)}; {hint}",
        )
    return Raw(source, RawTable(inputs), target, wanted.target or "y", notes)


def _numbers_rows(values: np.ndarray) -> bool:
    """Whether whole numbers go up by one, or are each another and two thirds of all from the least to the largest."""
    for part in (values[:3], values):  # of most columns the first three say that they do not
        numbers = as_numbers(part) if part.dtype == object else part.astype(np.float64)
        if numbers is None or len(numbers) < 3 or not (np.floor(numbers) == numbers).all():
            return False
        if len(np.unique(numbers)) < len(numbers):
            return False
    in_order = (np.diff(numbers) == 1).all()
    return bool(in_order or (len(numbers) >= FEWEST_OUT_OF_ORDER and np.ptp(numbers) < 1.5 * len(numbers)))


def refuse_columns(wanted: Wanted, source: str, target_name: str) -> None:
    """Refuse names of columns for what has none.

    Raises:
        ValueError: If there are some.
    """
    if wanted.ignore:
        fail("ignore", f"left out for `{source}`, which has no columns with names", listed(wanted.ignore))
    if wanted.target not in (None, target_name):
        fail("target", f"left out for `{source}`, whose targets are its {target_name}", repr(wanted.target))


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a line, not all if they are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more
