"""The drawings of Omniglot as a classification data set: characters are the classes, drawers make the split."""

from pathlib import Path

import torch
from torch import Tensor

from mupi.data.dataset import Dataset, Pixels
from mupi.data.omniglot import SIZE, load_characters

TEST_DRAWINGS = 5
"""Of 20: those by the last drawers of each alphabet, who drew no training image of it."""

# Of a pixel of the background set, ink being 1 and paper 0.
MEAN = 0.0779
STD = 0.2155


def load_drawings(directory: Path, part: str) -> Dataset:
    """Return the characters of the background set (964) or of the evaluation set (659), 15 and 5 drawings of each.

    Pixels of both are standardised by `MEAN` and `STD`, so that a network sees them alike.

    Args:
        directory: The data directory, see `data_directory`.
        part: ``background`` or ``evaluation``.

    Raises:
        FileNotFoundError: If the archive is missing and cannot be downloaded.
        ValueError: If it is damaged.
    """
    characters = load_characters(directory, f"images_{part}.zip")
    classes, drawings, _ = characters.images.shape
    train = drawings - TEST_DRAWINGS

    def standardized(images: Tensor) -> Tensor:
        return (images.flatten(0, 1).float() / 255 - MEAN) / STD

    def labels(each: int) -> Tensor:
        return torch.arange(classes).repeat_interleave(each)

    return Dataset(
        name=f"omniglot-{part}",
        train_x=standardized(characters.images[:, :train]),
        train_y=labels(train),
        test_x=standardized(characters.images[:, train:]),
        test_y=labels(TEST_DRAWINGS),
        image_shape=(1, SIZE, SIZE),
        classes=characters.names,
        pixels=Pixels((255 * MEAN,), (255 * STD,), largest=255),
    )
