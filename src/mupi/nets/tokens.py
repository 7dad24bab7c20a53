"""What a transformer reads: patches of an image, or tokens of a text; and how it becomes the first junctions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.layers import DenseMatrix
from mupi.nets.images import ImageShape, as_images, check_image_shape


class Sequences(ABC):
    """A kind of input as a sequence of positions."""

    causal: bool
    """Whether a position sees those before it only, and each position has an output of its own; else outputs are
    averages over positions."""

    @abstractmethod
    def embedding(self, rank: int, **like: Any) -> nn.Module:
        """A module from inputs to g of shape (batch, positions, r), with |g| of order one at the start.

        Args:
            rank: Rank r of the junction that is written.
            **like: Generator, dtype and device.
        """


@takes_numpy
@dataclass(frozen=True)
class Patches(Sequences):
    """An image as its square patches, row by row.

    >>> net = mupi.PiTransformer(mupi.Patches((3, 16, 16), size=8), 10, rank=8, depth=1)
    >>> net(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 10])

    Args:
        image_shape: Channels, height and width.
        size: Side of a patch; it divides height and width.
    """

    image_shape: ImageShape
    size: int

    causal = False

    def __post_init__(self):
        check_image_shape("Patches(image_shape=...)", self.image_shape)
        positive_int("Patches(size=...)", self.size)
        if any(n % self.size for n in self.image_shape[1:]):
            fail("Patches(size=...)", f"a divisor of {self.image_shape[1:]}", self.size)

    def embedding(self, rank: int, **like: Any) -> "PatchEmbedding":
        """See `Sequences.embedding`."""
        return PatchEmbedding(self, rank, **like)


@takes_numpy
@dataclass(frozen=True)
class Tokens(Sequences):
    """A text as integers.

    >>> tokens = mupi.Tokens(vocabulary=50, length=12)
    >>> mupi.PiTransformer(tokens, 2, rank=8, depth=1)(torch.randint(50, (3, 12))).shape
    torch.Size([3, 12, 2])

    Args:
        vocabulary: Number of different tokens.
        length: The most positions that a text may have.
        causal: Whether a position sees those before it only, to predict the next at each position; if not, there
            is one output for the whole.
    """

    vocabulary: int
    length: int
    causal: bool = True

    def __post_init__(self):
        positive_int("Tokens(vocabulary=...)", self.vocabulary)
        positive_int("Tokens(length=...)", self.length)

    def embedding(self, rank: int, **like: Any) -> "TokenEmbedding":
        """See `Sequences.embedding`."""
        return TokenEmbedding(self, rank, **like)


class PatchEmbedding(nn.Module):
    """g(t) = x(t) A/√r + P(t): an ordinary matrix on each patch's pixels, and a vector for each place."""

    def __init__(self, patches: Patches, rank: int, **like: Any):
        super().__init__()
        channels, height, width = patches.image_shape
        self.patches = patches
        self.pixels = DenseMatrix(channels * patches.size**2, rank, scale=rank**-0.5, bias_scale=0.0, **like)
        self.positions = _unit_rows(height * width // patches.size**2, rank, **like)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch positions r"]:
        """Of images (batch, channels, height, width) or flattened ones."""
        size = self.patches.size
        images = as_images(x, self.patches.image_shape)
        blocks = images.unflatten(3, (-1, size)).unflatten(
            2, (-1, size)
        )  # (batch, channels, rows, size, columns, size)
        return self.pixels(blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.positions


class TokenEmbedding(nn.Module):
    """g(t) = E(token at t) + P(t): the first layer's ordinary matrix on one-hot inputs, and a vector for each place."""

    def __init__(self, tokens: Tokens, rank: int, **like: Any):
        super().__init__()
        self.tokens = tokens
        self.table = _unit_rows(tokens.vocabulary, rank, **like)
        self.positions = _unit_rows(tokens.length, rank, **like)

    def forward(self, x: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch positions r"]:
        """Of integers below ``vocabulary``, at most ``length`` of them.

        Raises:
            ValueError: If there are more, or what came are not integers.
        """
        if x.is_floating_point() or x.ndim != 2 or x.shape[1] > len(self.positions):
            fail(
                "x",
                f"integers of shape (batch, at most {len(self.positions)} positions)",
                f"{x.dtype} of shape {tuple(x.shape)}",
            )
        return nn.functional.embedding(x, self.table) + self.positions[: x.shape[1]]


def _unit_rows(
    n: int,
    rank: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Parameter:
    """Rows uniform on the sphere."""
    rows = nn.functional.normalize(torch.randn(n, rank, dtype=torch.float64, generator=generator))
    return nn.Parameter(rows.to(device=device, dtype=dtype or torch.get_default_dtype()))
