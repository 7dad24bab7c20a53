"""A data set as tensors in memory."""

from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from mupi.checks import fail, finite
from mupi.data.targets import Numbers


@dataclass(frozen=True)
class Pixels:
    """How pixels became inputs: (pixel − mean)/std, by channel.

    Args:
        mean: Of each channel, or one for all.
        std: Standard deviation of the pixels of each channel.
        largest: Pixels are whole numbers from 0 to this; None if nothing is known, as where inputs came as they are.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    largest: int | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Flattened, standardised images or rows of a table, with their labels or with numbers.

    Args:
        name: The name it is chosen by.
        train_x: Training images, float32.
        train_y: Their classes, 0 … len(classes) − 1; or standardised numbers, float32.
        test_x: Test images, standardised with the constants of the training images.
        test_y: Classes of the test images, or numbers.
        image_shape: Channels, height and width; their product is d. (1, 1, d) for a table.
        classes: The classes' names; none where numbers are learned.
        pixels: How its pixels were standardised.
        numbers: The units of the numbers that are learned; None for classes.

    Raises:
        ValueError: If images and labels are not equally many, of other sizes than ``image_shape`` says, or not
            finite, or a label is no class.
    """

    name: str
    train_x: Float[Tensor, "train d"]
    train_y: Int64[Tensor, " train"] | Float32[Tensor, "train 1"]
    test_x: Float[Tensor, "test d"]
    test_y: Int64[Tensor, " test"] | Float32[Tensor, "test 1"]
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    pixels: Pixels = Pixels()
    numbers: Numbers | None = None

    def __post_init__(self):
        for part, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            size, each = prod(self.image_shape), () if self.numbers is None else (1,)
            if x.ndim != 2 or x.shape[1] != size or y.shape != (*x.shape[:1], *each):
                shapes = f"shapes {tuple(x.shape)} and {tuple(y.shape)}"
                wanted = "(n,)" if self.numbers is None else "(n, 1)"
                fail(f"Dataset({part}_x=..., {part}_y=...)", f"of shapes (n, {size}) and {wanted}", shapes)
            finite(f"Dataset({part}_x=...)", x)
            if self.numbers is not None:
                finite(f"Dataset({part}_y=...)", y)
                continue
            if y.dtype != torch.int64:
                fail(f"Dataset({part}_y=...)", "of dtype int64", y.dtype, "use y.long() if these are classes")
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(self.classes):
                labels = f"labels from {int(y.min())} to {int(y.max())}"
                fail(f"Dataset({part}_y=...)", f"from 0 to {len(self.classes) - 1}, one of the classes", labels)

    @property
    def outputs(self) -> int:
        """Of a network: one for each class, or one for a number."""
        return len(self.classes) if self.numbers is None else 1

    def raw(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n channels height width"]:
        """The pixels of standardised images."""
        images = x.unflatten(1, self.image_shape)
        std, mean = (torch.tensor(values)[:, None, None].to(x) for values in (self.pixels.std, self.pixels.mean))
        pixels = images * std + mean
        return pixels if self.pixels.largest is None else pixels.round()

    def take(self, n_train: int, generator: torch.Generator) -> "Dataset":
        """Keep a random subset of the training images; the test images stay.

        Args:
            n_train: How many training images to keep.
            generator: Draws what is kept.

        Raises:
            ValueError: If there are fewer than ``n_train`` training images, or ``n_train`` < 1.
        """
        available = len(self.train_x)
        if not 1 <= n_train <= available:
            fail("train_size", f"between 1 and {available}, the training images of {self.name}", n_train)
        kept = torch.randperm(available, generator=generator)[:n_train]
        return replace(self, train_x=self.train_x[kept], train_y=self.train_y[kept])

    def split_validation(self, n_validation: int, generator: torch.Generator) -> "Dataset":
        """Put a random part of the training images in place of the test images, which tuning must not see.

        Args:
            n_validation: How many training images become the new test images.
            generator: Draws what is kept.

        Raises:
            ValueError: If this leaves no training image, or ``n_validation`` < 1.
        """
        available = len(self.train_x)
        if not 1 <= n_validation < available:
            fail("validation", f"between 1 and {available - 1}, to leave {self.name} something", n_validation)
        validation, rest = torch.randperm(available, generator=generator).tensor_split([n_validation])
        return replace(
            self,
            train_x=self.train_x[rest],
            train_y=self.train_y[rest],
            test_x=self.train_x[validation],
            test_y=self.train_y[validation],
        )

    def keep_classes(self, n: int, generator: torch.Generator | None = None) -> "Dataset":
        """Keep the images of some classes, drawn at random and numbered anew in their order.

        Args:
            n: How many classes to keep.
            generator: Draws what is kept.

        Raises:
            ValueError: If there are fewer than ``n`` classes, or ``n`` < 1.
        """
        if not 1 <= n <= len(self.classes):
            fail("classes", f"between 1 and {len(self.classes)}, the classes of {self.name}", n)
        kept = torch.randperm(len(self.classes), generator=generator)[:n].sort().values
        train, test = torch.isin(self.train_y, kept), torch.isin(self.test_y, kept)
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=torch.searchsorted(kept, self.train_y[train]),
            test_x=self.test_x[test],
            test_y=torch.searchsorted(kept, self.test_y[test]),
            classes=tuple(self.classes[int(i)] for i in kept),
        )

    def with_inputs(self, train_x: Float[Tensor, "train d"], test_x: Float[Tensor, "test d"]) -> "Dataset":
        """Put other inputs in place of the images, features of theirs for example, as images of shape (1, 1, d)."""
        return replace(self, train_x=train_x, test_x=test_x, image_shape=(1, 1, train_x.shape[1]))

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the same data on another device."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
        )
