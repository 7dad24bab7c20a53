"""Sizes of axes: numbers, or multiples of the width n that goes to infinity."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from mupi.checks import fail, positive_int


@dataclass(frozen=True)
class Width:
    """The size of an infinite axis, as a multiple of the width n.

    >>> n = Width()
    >>> print(n, 4 * n, n / 2)
    n 4n n/2

    Args:
        times: The multiple of n.
    """

    times: Fraction = Fraction(1)

    def __post_init__(self):
        if not isinstance(self.times, Fraction | int) or self.times <= 0:
            fail("Width(times=...)", "a positive integer or Fraction", repr(self.times))
        object.__setattr__(self, "times", Fraction(self.times))

    def at(self, width: int) -> int:
        """The size where n is ``width``.

        Raises:
            ValueError: If that is no whole number.
        """
        size = positive_int("width", width) * self.times
        if size.denominator != 1:
            fail("width", f"a multiple of {self.times.denominator}, for an axis of size {self}", width)
        return int(size)

    def __mul__(self, factor: int | Fraction) -> "Width":
        return Width(self.times * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: int | Fraction) -> "Width":
        return Width(self.times / Fraction(divisor))

    def __str__(self) -> str:
        above, below = self.times.numerator, self.times.denominator
        return f"{above if above > 1 else ''}n{f'/{below}' if below > 1 else ''}"


Size = int | Width


@dataclass(frozen=True)
class Shape:
    """The axes of a value after the batch: positions (pixels, tokens; perhaps none), then channels.

    A value whose channels are a `Width` is a *layer*: coordinates without end, which the limit describes by their
    distribution. One whose channels are a number is *data*: inputs and outputs, ordinary tensors in the limit too.

    Args:
        positions: Sizes of the axes of positions.
        channels: Size of the last axis; None for integers (tokens), which have no such axis.
        flat: Positions that were flattened into the channels of a layer, so that the weight that reads it has entries
            of its own for each.
    """

    positions: tuple[int, ...]
    channels: Size | None
    flat: tuple[int, ...] = ()

    @property
    def is_layer(self) -> bool:
        """Whether the channels are infinitely many."""
        return isinstance(self.channels, Width)

    @property
    def axes(self) -> tuple[Size, ...]:
        """Sizes of all axes after the batch."""
        channels = () if self.channels is None else (self.channels,)
        if self.flat and isinstance(self.channels, Width):
            channels = (self.channels * prod(self.flat),)
        return (*self.positions, *channels)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.axes))}{',' if len(self.axes) == 1 else ''})"
