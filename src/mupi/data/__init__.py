"""Data sets: one file each, and the name each is chosen by."""

from pathlib import Path
from typing import Literal, get_args

import torch

from mupi.checks import fail
from mupi.data.cifar10 import load_cifar10
from mupi.data.dataset import Dataset, Pixels
from mupi.data.digits import load_digits
from mupi.data.directory import data_directory
from mupi.data.drawings import load_drawings
from mupi.data.imagenet32 import TRAIN, load_imagenet32

__all__ = ["Dataset", "DatasetName", "Pixels", "data_directory", "load", "load_cifar10", "load_digits"]

DatasetName = Literal["digits", "cifar10", "imagenet32", "omniglot-background", "omniglot-evaluation"]


def load(
    name: str,
    directory: Path | str | None = None,
    *,
    classes: int | None = None,
    files: int | None = None,
    generator: torch.Generator | None = None,
) -> Dataset:
    """Return the data set of this name.

    Args:
        name: One of `DatasetName`.
        directory: The data directory, if not the usual one: see `data_directory`.
        classes: How many classes to keep, chosen at random; None for all.
        files: imagenet32: how many training files to read, from the first; None for all.
        generator: Draws the classes that are kept, where there are too many.

    Raises:
        ValueError: If there is no such data set, or not as many classes or files.
    """
    if name == "imagenet32":
        batches = len(TRAIN) if files is None else files
        return load_imagenet32(data_directory(directory), n_classes=classes, batches=batches, generator=generator)
    if files is not None:
        fail("files", f"left out for {name}, which is read as a whole", files)
    match name:
        case "digits":
            data = load_digits()
        case "cifar10":
            data = load_cifar10(data_directory(directory))
        case "omniglot-background" | "omniglot-evaluation":
            data = load_drawings(data_directory(directory), name.removeprefix("omniglot-"))
        case _:
            fail("dataset", " or ".join(get_args(DatasetName)), repr(name))
    return data if classes is None else data.keep_classes(classes, generator)
