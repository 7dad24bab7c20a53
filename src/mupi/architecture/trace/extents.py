"""What an axis is, from its sizes at two widths and two batch sizes."""

from dataclasses import dataclass
from fractions import Fraction
from math import log, log10

from mupi.architecture.shape import Size, Width

Pair = tuple[int, int]
"""A size in the first export and in the second."""

ONE: Pair = (1, 1)


def times(x: Pair, y: Pair) -> Pair:
    """The product in each."""
    return x[0] * y[0], x[1] * y[1]


def divides(x: Pair, y: Pair) -> bool:
    """Whether y is a multiple of x in each."""
    return y[0] % x[0] == 0 and y[1] % x[1] == 0


def over(x: Pair, y: Pair) -> Pair:
    """The quotient in each, of a multiple."""
    return x[0] // y[0], x[1] // y[1]


@dataclass(frozen=True)
class Scaling:
    """c·n^e, which a number is that the code computes from the width.

    Attributes:
        factor: The factor c.
        exponent: The exponent e.
    """

    factor: float = 1.0
    exponent: float = 0.0

    def __mul__(self, other: "Scaling") -> "Scaling":
        return Scaling(neat(self.factor * other.factor), self.exponent + other.exponent)

    def __pow__(self, power: int | float) -> "Scaling":
        return Scaling(neat(self.factor**power), self.exponent * power)


@dataclass(frozen=True)
class Experiment:
    """The widths and batch sizes of the two exports, whose ratios differ.

    Attributes:
        widths: The width n of each of the two exports.
        batches: Numbers of samples.
    """

    widths: Pair
    batches: Pair

    def size(self, pair: Pair) -> Size | None:
        """A number, or a multiple of the width; None for anything else."""
        if pair[0] == pair[1]:
            return pair[0]
        multiple = Fraction(pair[0], self.widths[0])
        return Width(multiple) if multiple * self.widths[1] == pair[1] else None

    def pair(self, size: Size) -> Pair:
        """The sizes of an axis in the exports."""
        return (size, size) if isinstance(size, int) else (size.at(self.widths[0]), size.at(self.widths[1]))

    def scaling(self, first: float, second: float, precision: float = 2e-15) -> Scaling | None:
        """The c and e of a number from its two values; None if e is no multiple of ¼, as for n + 1.

        Args:
            first: The number at the first width.
            second: The number at the second.
            precision: Its relative precision.
        """
        if first == second:
            return Scaling(float(first))
        if first * second <= 0:
            return None
        exponent = log(second / first) / log(self.widths[1] / self.widths[0])
        if abs(exponent - round(4 * exponent) / 4) > 1e-6:
            return None
        exponent = round(4 * exponent) / 4
        factors = first / self.widths[0] ** exponent, second / self.widths[1] ** exponent
        return Scaling(neat(factors[0], precision), exponent) if abs(factors[0] / factors[1] - 1) < 1e-6 else None


def neat(x: float, precision: float = 2e-15) -> float:
    """A number without the rounding errors that show that it was computed, where it has a short form."""
    for digits in range(1, int(-log10(precision)) - 1):
        short = float(f"{x:.{digits}g}")
        if abs(short - x) <= precision * abs(x):
            return short
    return x
