"""CSV files: a line of names, then a row in each line, all of one length."""

import csv
import gzip
from pathlib import Path

from mupi.checks import fail
from mupi.data.own.raw import Raw
from mupi.data.own.wanted import Wanted, taken_apart
from mupi.data.own.words import without_missing

SEPARATORS = ",;\t|"


def read_csv(path: Path, wanted: Wanted) -> Raw:
    """Columns of words, whose meaning is not guessed here.

    Commas, semicolons, tabs or bars separate entries, whichever the first line has most of. A first column without a
    name is what pandas writes of an index, which tells the rows of a sorted table apart: it is left out.

    Raises:
        ValueError: If there are no rows, rows of other lengths, or not the columns that are wanted.
    """
    argument, index = wanted.argument, False
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as file
        ):
            separator = max(SEPARATORS, key=file.readline().count)
            file.seek(0)
            lines = csv.reader(file, delimiter=separator, strict=True)
            names = [name.strip() for name in next(lines, [])]
            if not any(names):
                fail(
                    argument, "a CSV file that begins with the names of columns", f"`{path}`, whose first line is empty"
                )
            if index := not names[0]:
                names[0] = "\0"
            if "" in names:
                got = f"`{path}`, whose column {names.index('') + 1} has none"
                fail(argument, "a table whose columns have a name each", got)
            rows = []
            for row in lines:
                if len(row) == len(names):
                    rows.append(row)
                elif row:
                    must = f"a CSV file with {len(names)} entries in each line, as in its first"
                    fail(argument, must, f"`{path}` with {len(row)} in line {lines.line_num}")
    except UnicodeDecodeError as error:
        fail(argument, "a CSV file in UTF-8", f"`{path}` ({error.reason} at byte {error.start})", "save it as UTF-8")
    except (csv.Error, gzip.BadGzipFile, EOFError) as error:
        fail(argument, "a CSV file", f"`{path}` ({error})")
    if not rows:
        fail(argument, "a table with rows", f"`{path}`, which has none")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if len(set(names)) == len(names) else {}
    kept, notes = wanted.columns(names[1:] if index else names, str(path))
    if index:
        notes = (*notes, "the first column, which has no name, is left out as an index")
    return taken_apart(str(path), {name: without_missing(columns[name]) for name in kept}, wanted, notes)
