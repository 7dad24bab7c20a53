"""Kernel, stride and padding of a convolution over two axes of positions."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.checks import fail, positive_int

Pair = int | tuple[int, int]
"""A number for both axes, or one for each: rows, then columns."""


@dataclass(frozen=True)
class Grid:
    """Which positions q = stride·p + i − padding of the input the position p of the output reads, 0 ≤ i < size.

    Attributes:
        size: Sides of the kernel.
        stride: Every how many positions there is one of the output.
        padding: Positions that are added at both ends of each axis.
        circular: Whether these are the positions at the other end, or zeros.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    circular: bool

    @classmethod
    def of(cls, layer: str, kernel_size: Pair, stride: Pair, padding: Pair | None, mode: str) -> "Grid":
        """From the arguments of a layer; padding None keeps all positions, as half of an odd kernel does.

        Raises:
            ValueError: For a size that is not a positive integer, an even kernel without padding, another mode.
        """
        size = pair(f"{layer}(kernel_size=...)", kernel_size)
        for side in size if padding is None else ():
            odd_kernel(layer, side)
        added = tuple(k // 2 for k in size) if padding is None else pair(f"{layer}(padding=...)", padding, least=0)
        if mode not in ("zeros", "circular"):
            fail(f"{layer}(padding_mode=...)", '"zeros" or "circular"', repr(mode))
        return cls(size, pair(f"{layer}(stride=...)", stride), (added[0], added[1]), mode == "circular")

    @property
    def offsets(self) -> int:
        """How many positions one position of the output reads."""
        return self.size[0] * self.size[1]

    def arguments(self) -> dict[str, Any]:
        """As they are written, and as state dicts say them; numbers that both axes share are one."""
        sizes = {"kernel_size": self.size, "stride": self.stride, "padding": self.padding}
        said: dict[str, Any] = {name: shorter(value) for name, value in sizes.items()}
        return said | {"padding_mode": "circular" if self.circular else "zeros"}

    def wrapped(self, x: Float[Tensor, "batch height width k"]) -> Float[Tensor, "batch rows columns k"]:
        """With the positions that circular padding adds."""
        if not self.circular or self.padding == (0, 0):
            return x
        rows, columns = self.padding
        down, right = (
            torch.arange(-padding, size + padding, device=x.device) % size
            for size, padding in zip(x.shape[1:3], (rows, columns), strict=True)
        )
        return x[:, down][:, :, right]

    @property
    def zeros(self) -> tuple[int, int]:
        """How many zeros are added at both ends of each axis."""
        return (0, 0) if self.circular else self.padding

    def add_moved(
        self, parts: Float[Tensor, "batch height width offsets_rank"]
    ) -> Float[Tensor, "batch rows columns rank"]:
        """g'(p) = Σ_i D_i(stride·p + i − padding) for D of shape (batch, height, width, offsets·rank).

        i runs over the kernel from its last position to its first.
        """
        parts = self.wrapped(parts)
        height, width, size = parts.shape[-3:]
        columns = parts.reshape(-1, height * width, self.offsets, size // self.offsets).permute(0, 3, 2, 1)
        # What torch's fold calls padding cuts positions off: k − 1 − padding of the k − 1 that a kernel adds.
        cut = tuple(k - 1 - zeros for k, zeros in zip(self.size, self.zeros, strict=True))
        more = tuple(max(-c, 0) for c in cut)
        sides = tuple(n + k - 1 - 2 * max(c, 0) for n, k, c in zip((height, width), self.size, cut, strict=True))
        out = nn.functional.fold(columns.flatten(1, 2), sides, self.size, padding=tuple(max(c, 0) for c in cut))
        if any(more):
            out = nn.functional.pad(out, (more[1], more[1], more[0], more[0]))
        return out[:, :, :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1)

    def subsampled(self, x: Float[Tensor, "batch height width k"]) -> tuple[Tensor, "Grid"]:
        """Without the rows and columns that no position of the output reads, and the grid of the rest.

        These are what a kernel of one row leaves out at a stride; a longer one reads each position at some offset.
        """
        skips = [(k, p) == (1, 0) for k, p in zip(self.size, self.padding, strict=True)]
        down, right = (s if skip else 1 for s, skip in zip(self.stride, skips, strict=True))
        if (down, right) == (1, 1):
            return x, self
        return x[:, ::down, ::right], replace(self, stride=(self.stride[0] // down, self.stride[1] // right))


def pair(argument: str, value: Pair, least: int = 1) -> tuple[int, int]:
    """One number for each axis.

    Raises:
        ValueError: If it is not one or two integers of at least ``least``.
    """
    values = value if isinstance(value, tuple) else (value, value)
    if len(values) != 2:
        fail(argument, "one integer, or one for each of two axes", value)
    first, second = (positive_int(argument, k - least + 1) + least - 1 for k in values)
    return first, second


def shorter(value: tuple[int, int]) -> int | list[int]:
    """One number where both are the same."""
    return value[0] if value[0] == value[1] else list(value)


def odd_kernel(layer: str, kernel_size: int) -> None:
    """Raise ``ValueError`` for an even kernel, which has no center."""
    if kernel_size % 2 == 0:
        fail(f"{layer}(kernel_size=...)", "odd", kernel_size)
