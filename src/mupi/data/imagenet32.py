"""Downsampled ImageNet at 32 × 32 pixels (Chrabaszcz, Loshchilov & Hutter 2017), from its official batches."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int64
from rich.progress import track
from torch import Tensor

from mupi.checks import fail, positive_int
from mupi.data.dataset import Dataset, Pixels
from mupi.data.pickled_arrays import load_arrays

FOLDER = "imagenet32"
TRAIN = tuple(f"train_data_batch_{i}" for i in range(1, 11))
VALIDATION = "val_data"
SOURCE = "image-net.org (free registration; 'Download downsampled image data (32x32)')"

# Per channel, after scaling to [0, 1]: the constants that ImageNet is usually normalised by.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

MOST_CLASSES = 1000
MOST_BYTES = 1 << 29
"""Of a file; the largest official one, a tenth of the training images, has 394 MB."""


def load_imagenet32(
    directory: Path,
    *,
    n_classes: int | None = 250,
    batches: int = len(TRAIN),
    generator: torch.Generator | None = None,
) -> Dataset:
    """Return some classes of ImageNet32, its validation images as test images, normalised by `MEAN` and `STD`.

    In memory an image takes 12 KB: 250 of the 1,000 classes 4 GB.

    Read from ``imagenet32`` in ``directory``: ``val_data`` and the first ``batches`` of ``train_data_batch_1`` …
    ``train_data_batch_10``. Whoever wants them has to register; nothing is downloaded.

    Args:
        directory: The data directory, see `data_directory`.
        n_classes: How many classes to keep, chosen at random; None for all there are. Yang, Santacroce & Hu (2022)
            take 250.
        batches: How many training files to read, from the first.
        generator: Draws the classes.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If one is damaged, or there are not as many classes.
    """
    positive_int("load_imagenet32(batches=...)", batches)
    if batches > len(TRAIN):
        fail("load_imagenet32(batches=...)", f"at most {len(TRAIN)}", batches)
    folder = directory / FOLDER
    for name in (*TRAIN[:batches], VALIDATION):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"`{folder / name}` is missing; wanted the python batches of ImageNet32, {', '.join(TRAIN[:batches])} "
                f"and {VALIDATION}; get them from {SOURCE} and put them there, or name another directory by "
                "--data-dir or $MUPI_DATA"
            )
    test_x, test_y = _read(folder / VALIDATION)
    present = test_y.unique()
    kept = present
    if n_classes is not None:
        positive_int("load_imagenet32(n_classes=...)", n_classes)
        if n_classes > len(present):
            fail("load_imagenet32(n_classes=...)", f"at most {len(present)}, the classes in `{folder}`", n_classes)
        kept = present[torch.randperm(len(present), generator=generator)[:n_classes]].sort().values
    parts = [
        _select(*_read(folder / name), kept) for name in track(TRAIN[:batches], f"reading {FOLDER}", transient=True)
    ]
    train_x, train_y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    test_x, test_y = _select(test_x, test_y, kept)
    return Dataset(
        name="imagenet32",
        train_x=_normalized(train_x),
        train_y=train_y,
        test_x=_normalized(test_x),
        test_y=test_y,
        image_shape=(3, 32, 32),
        classes=tuple(str(int(label) + 1) for label in kept),
        pixels=Pixels(tuple(255 * m for m in MEAN), tuple(255 * s for s in STD), largest=255),
    )


def _read(path: Path) -> tuple[Tensor, Int64[Tensor, " n"]]:
    """Bytes (n, 3072) and labels from 0."""
    if (size := path.stat().st_size) > MOST_BYTES:
        _damaged(path, f"it has {size:,} bytes, more than the {MOST_BYTES:,} of any official file")
    try:
        batch = load_arrays(path.read_bytes(), encoding="latin1")
    except ValueError as error:
        _damaged(path, str(error))
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        _damaged(path, "it is no pickle of a dict with data and labels")
    pixels, numbers = batch["data"], batch["labels"]
    if isinstance(numbers, list) and any(type(label) is not int for label in numbers):
        _damaged(path, "its labels are no integers")
    if not isinstance(pixels, np.ndarray) or not isinstance(numbers, (list, np.ndarray)):
        _damaged(path, "its data are no array, or its labels no list")
    labels = np.asarray(numbers) if len(numbers) else np.zeros(0, np.int64)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        _damaged(path, f"its labels are {labels.dtype} of shape {labels.shape}, not integers (n,)")
    if len(labels) == 0 or not (int(labels.min()) >= 1 and int(labels.max()) <= MOST_CLASSES):
        _damaged(path, f"its labels are not from 1 to {MOST_CLASSES:,}")
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        _damaged(
            path, f"its data are {pixels.dtype} of shape {pixels.shape} for {len(labels)} labels, not bytes (n, 3072)"
        )
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)) - 1


def _select(x: Tensor, y: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The images of some classes, which are numbered anew in their order."""
    kept = torch.isin(y, classes)
    return x[kept], torch.searchsorted(classes, y[kept])


def _normalized(x: Tensor) -> Float[Tensor, "n 3072"]:
    """Each channel by ImageNet's constants."""
    x = x.float()
    channels = x.view(-1, 3, 1024)
    channels.sub_(255 * torch.tensor(MEAN)[:, None]).div_(255 * torch.tensor(STD)[:, None])
    return x


def _damaged(path: Path, reason: str) -> NoReturn:
    raise ValueError(f"`{path}` is damaged: {reason}; get it again from {SOURCE}")
