"""Training images mirrored and moved at random."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from mupi.checks import fail

Seen = Callable[[Tensor, Tensor], Tensor]
"""Of rows of the data and their numbers: the rows as they are seen."""


def unchanged(x: Tensor, examples: Int64[Tensor, " batch"]) -> Tensor:
    """The rows as they are."""
    return x


@dataclass(frozen=True)
class Augmentation:
    """What may be done to an image: a mirror image with probability ½, a shift by up to ``shift`` pixels.

    Shifts are uniform on {−shift, …, shift} in each direction; pixels that come in are 0, the mean color.

    Args:
        flip: Whether images are mirrored.
        shift: The longest shift; 0 for none.
        image_shape: Channels, height and width.

    Raises:
        ValueError: If a shift would move an image out of itself.
    """

    flip: bool
    shift: int
    image_shape: tuple[int, int, int]

    def __post_init__(self):
        smallest = min(self.image_shape[1:])
        if not 0 <= self.shift < smallest:
            fail("shift", f"less than the images' {smallest} pixels, and at least 0", self.shift)

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether rows of this shape are such images, flat or not."""
        return shape in (self.image_shape, (prod(self.image_shape),))

    def draw(self, n: int, generator: torch.Generator) -> "Views":
        """What is done to each of n images in one epoch; draws nothing that is not asked for."""
        flipped = torch.zeros(n, dtype=torch.bool)
        if self.flip:
            flipped = torch.rand(n, generator=generator) < 0.5
        offsets = torch.zeros(n, 2, dtype=torch.int64)
        if self.shift:
            offsets = torch.randint(-self.shift, self.shift + 1, (n, 2), generator=generator)
        return Views(self, flipped, offsets)


@dataclass(frozen=True, eq=False)
class Views:
    """How each image of a data set is seen in one epoch.

    Args:
        augmentation: What may be done to each image.
        flipped: Which images are mirrored.
        offsets: By how many pixels each is moved down and to the right.
    """

    augmentation: Augmentation
    flipped: Bool[Tensor, " n"]
    offsets: Int64[Tensor, "n 2"]

    def to(self, device: torch.device) -> "Views":
        """The same on a device, for images and numbers of images that are there."""
        return Views(self.augmentation, self.flipped.to(device), self.offsets.to(device))

    def __call__(self, x: Float[Tensor, "batch ..."], images: Int64[Tensor, " batch"]) -> Float[Tensor, "batch ..."]:
        """The rows of ``x``, which are the images of these numbers, as they are seen; flat or of the image's shape."""
        if not (self.augmentation.flip or self.augmentation.shift):
            return x
        (_, height, width), margin, device = self.augmentation.image_shape, self.augmentation.shift, x.device
        # A pixel of the view is one of the padded image: which row and column it is depends on the image only.
        start = margin - self.offsets[images]
        rows = start[:, :1] + torch.arange(height, device=device)
        columns = start[:, 1:] + torch.arange(width, device=device)
        columns = torch.where(self.flipped[images][:, None], columns.flip(1), columns)
        padded = pad(x.reshape(len(x), *self.augmentation.image_shape), (margin,) * 4)
        image = torch.arange(len(x), device=device)[:, None, None]
        return padded.movedim(1, 3)[image, rows[:, :, None], columns[:, None, :]].movedim(3, 1).reshape(x.shape)
