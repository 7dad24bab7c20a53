"""Data sets: one file each, and the name each is chosen by."""

from pathlib import Path
from typing import Literal

from mupi.checks import fail
from mupi.data.cifar10 import load_cifar10
from mupi.data.dataset import Dataset
from mupi.data.digits import load_digits
from mupi.data.directory import data_directory

__all__ = ["Dataset", "DatasetName", "data_directory", "load", "load_cifar10", "load_digits"]

DatasetName = Literal["digits", "cifar10"]


def load(name: str, directory: Path | str | None = None) -> Dataset:
    """Return the data set of this name.

    Args:
        name: One of `DatasetName`.
        directory: The data directory, if not the usual one: see `data_directory`.

    Raises:
        ValueError: If there is no such data set.
    """
    match name:
        case "digits":
            return load_digits()
        case "cifar10":
            return load_cifar10(data_directory(directory))
        case _:
            fail("dataset", "digits or cifar10", repr(name))
