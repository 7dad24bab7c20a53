"""Parquet files, and Arrow's tables in memory."""

from pathlib import Path
from typing import Any

import numpy as np

from mupi.checks import fail
from mupi.data.own.raw import Raw
from mupi.data.own.wanted import Wanted, taken_apart
from mupi.data.own.words import without_missing
from mupi.extras import require


def read_parquet(path: Path, wanted: Wanted) -> Raw:
    """Columns of numbers and of words.

    Raises:
        ValueError: If the file is none of Parquet, has no rows, a column of something else, or not those wanted.
    """
    require("pyarrow", "a Parquet file")
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(path).read()
    except pyarrow.ArrowException as error:
        fail(wanted.argument, "a Parquet file", f"`{path}` ({' '.join(str(error).split())[:200]})")
    return from_arrow(table, str(path), wanted)


def from_arrow(table: Any, source: str, wanted: Wanted) -> Raw:
    """The columns of an Arrow table; booleans are the words True and False.

    Raises:
        ValueError: If it has no rows, a column of something else, or not those wanted.
    """
    if not table.num_rows:
        fail(wanted.argument, "a table with rows", f"`{source}`, which has none")
    kept, notes = wanted.columns(table.column_names, source)
    return taken_apart(source, {name: column_of(table, name, source, wanted) for name in kept}, wanted, notes)


def column_of(table: Any, name: str, source: str, wanted: Wanted) -> np.ndarray:
    """A column as float64 with NaN for what is missing (a target of integers as these), or as words.

    Raises:
        ValueError: If it is of something else.
    """
    from pyarrow import types

    column, kind = table.column(name), table.schema.field(name).type
    value = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_integer(value) or types.is_floating(value) or types.is_decimal(value):
        entries = column.to_pylist()
        if types.is_integer(value) and name == wanted.target and None not in entries:
            return np.array(entries)
        return np.array([np.nan if entry is None else float(entry) for entry in entries], np.float64)
    if types.is_boolean(value) or types.is_string(value) or types.is_large_string(value) or types.is_null(value):
        return without_missing("" if entry is None else str(entry) for entry in column.to_pylist())
    must, got = "a table of numbers and words", f"column `{name}` of {kind} in `{source}`"
    return fail(wanted.argument, must, got, f"leave it out with --ignore {name}")
