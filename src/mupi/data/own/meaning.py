"""What the inputs and outputs of a network mean: all that it takes to ask it about raw rows, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.checks import fail
from mupi.data.dataset import Dataset, Pixels
from mupi.data.own.columns import Category, Columns, Number
from mupi.data.own.targets import Classes
from mupi.data.targets import Numbers
from mupi.torch_internals import assert_on_device


@dataclass(frozen=True)
class Images:
    """Images of one size.

    Attributes:
        shape: Channels, height and width.
        pixels: How they are standardized.
    """

    shape: tuple[int, int, int]
    pixels: Pixels

    def module(self) -> "StandardPixels":
        """From pixels to inputs of the network."""
        return StandardPixels(self)


class StandardPixels(nn.Module):
    """Images as standardized inputs, flat; pixels out of range, such as those of standardized images, are refused.

    Args:
        images: What is known of them.
        checked: Whether the range is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, images: Images, checked: bool = True):
        super().__init__()
        self.largest = images.pixels.largest if checked else None
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(images.pixels, name))[:, None, None])

    def forward(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch d"]:
        """The network's inputs."""
        if self.largest is not None:
            in_range = ((pixels >= 0) & (pixels <= self.largest)).all()
            assert_on_device(in_range, f"pixels must be numbers from 0 to {self.largest}, not standardised")
        return ((pixels - self.mean) / self.std).flatten(1)


@dataclass(frozen=True)
class Meaning:
    """What goes into a network and what comes out.

    Attributes:
        name: Of what it was trained on.
        inputs: Images, or columns of a table.
        target: What is predicted.
        targets: Its classes, or the units of its numbers.
    """

    name: str
    inputs: Images | Columns
    target: str
    targets: Classes | Numbers

    @classmethod
    def of(cls, data: Dataset) -> "Meaning":
        """Of a data set of images."""
        return cls(data.name, Images(data.image_shape, data.pixels), "class", Classes(data.classes))

    @property
    def description(self) -> Dataset:
        """A data set without rows, which tells a network's sizes."""
        shape = self.inputs.shape if isinstance(self.inputs, Images) else (1, 1, len(self.inputs.inputs))
        x = torch.empty(0, prod(shape))
        classes = isinstance(self.targets, Classes)
        y = torch.empty(0, dtype=torch.int64) if classes else torch.empty(0, 1)
        names, numbers = (self.targets.names, None) if isinstance(self.targets, Classes) else ((), self.targets)
        return Dataset(self.name, x, y, x, y, shape, names, numbers=numbers)

    def as_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = asdict(self)
        if isinstance(self.inputs, Columns):
            plain["inputs"] = {"columns": [asdict(column) for column in self.inputs.columns]}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Meaning":
        """The inverse of `as_plain`.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is not known.
        """
        inputs, targets = plain["inputs"], plain["targets"]
        if "columns" in inputs:
            columns = [
                Category(c["name"], tuple(c["words"]), tuple(c["means"]), tuple(c["stds"]))
                if "words" in c
                else Number(**c)
                for c in inputs["columns"]
            ]
            read: Images | Columns = Columns(tuple(columns))
        else:
            pixels = inputs["pixels"]
            read = Images(
                tuple(inputs["shape"]), Pixels(tuple(pixels["mean"]), tuple(pixels["std"]), pixels["largest"])
            )
        known = Classes(tuple(targets["names"])) if "names" in targets else Numbers(**targets)
        return cls(plain["name"], read, plain["target"], known)


def pixels_as_trained(x: Any, images: Images, source: str, argument: str) -> Float[Tensor, "n channels height width"]:
    """Images as floats, of the size and range of training.

    Raises:
        ValueError: If they are not.
    """
    pixels = torch.from_numpy(x).float()
    if tuple(pixels.shape[1:]) != images.shape:
        must = f"of images of shape {images.shape} (channels, height, width), as in training"
        fail(argument, must, f"{tuple(pixels.shape[1:])} in `{source}`")
    largest = images.pixels.largest
    if not torch.isfinite(pixels).all():
        fail(argument, "of finite pixels", f"others in `{source}`")
    if largest is not None and not ((pixels >= 0) & (pixels <= largest)).all():
        got = f"{float(pixels.min()):g} to {float(pixels.max()):g} in `{source}`"
        fail(argument, f"of pixels from 0 to {largest}, as in training", got)
    return pixels
