"""Plane sections of the space of abc-parametrizations, and the class of each point (Yang & Hu 2021, figure 2)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction

from mupi.parametrization.parametrization import Parametrization

HALF = Fraction(1, 2)


class Verdict(Enum):
    """A parametrization's class."""

    UNSTABLE = auto()
    TRIVIAL = auto()
    KERNEL = auto()
    FEATURES = auto()


def classify(p: Parametrization) -> Verdict:
    """By the conditions of the theorems."""
    if p.learns_features:
        return Verdict.FEATURES
    if p.kernel_regime:
        return Verdict.KERNEL
    return Verdict.TRIVIAL if p.stable else Verdict.UNSTABLE


@dataclass(frozen=True)
class Section:
    """A plane in the space of exponents, with one representative of the shifts of each.

    Attributes:
        title: What is kept fixed.
        xlabel: First coordinate.
        ylabel: Second coordinate.
        at: The parametrization at a point.
        where: The point of a parametrization; it lies in the plane if `at` there is equivalent to it, or, for the
            verdict's purposes, if it has the same r.
        x: Range of the first coordinate.
        y: Range of the second coordinate.
    """

    title: str
    xlabel: str
    ylabel: str
    at: Callable[[Fraction, Fraction], Parametrization]
    where: Callable[[Parametrization], tuple[Fraction, Fraction]]
    x: tuple[Fraction, Fraction]
    y: tuple[Fraction, Fraction]

    def verdicts(self, step: Fraction) -> tuple[list[Fraction], list[Fraction], list[list[Verdict]]]:
        """Grid of both coordinates, and the verdicts on it, one row for each y.

        Twice as fine in the first: the kernel face has slope −2, and so is a line without gaps.
        """
        x, y = _grid(*self.x, step), _grid(*self.y, 2 * step)
        return x, y, [[classify(self.at(u, v)) for u in x] for v in y]


def sections(depth: int = 2) -> tuple[Section, Section]:
    """Two planes of networks, all weights but the readout updated alike, and a_l = 0 for hidden weights.

    The first is what one can do to SP: the readout is initialised as usual, with b_{L+1} = ½; one chooses its
    multiplier a_{L+1} and the learning rate's c. The second is the face on which the readout is maximally updated,
    2a_{L+1} + c = 1: there the choice of its initial size a_{L+1}+b_{L+1} and of c separates kernel and feature
    learning.
    """
    first, hidden = ((-HALF, HALF), (Fraction(0), HALF))

    def network(a_last: Fraction, b_last: Fraction, c: Fraction) -> Parametrization:
        a = (first[0], *[hidden[0]] * (depth - 1), a_last)
        b = (first[1], *[hidden[1]] * (depth - 1), b_last)
        return Parametrization(a, b, c)

    def gauge(p: Parametrization) -> Parametrization:
        """The shift in which the body's update exponent min_l [2a_l + 1(l = 1)] is 0, as it is in these planes."""
        return p.shift(-min(2 * a + (layer == 0) for layer, a in enumerate(p.a[:-1])) / 2)

    def choice(p: Parametrization) -> tuple[Fraction, Fraction]:
        q = gauge(p)
        return q.a[-1], q.c

    def face(p: Parametrization) -> tuple[Fraction, Fraction]:
        return p.initial_readout, gauge(p).c

    return (
        Section(
            "readout initialized as in SP: $b_{L+1} = 1/2$",
            "readout multiplier $a_{L+1}$",
            "learning rate $c$",
            lambda a, c: network(a, HALF, c),
            choice,
            (Fraction(-1, 4), Fraction(1)),
            (Fraction(-1, 4), Fraction(3, 2)),
        ),
        Section(
            "readout maximally updated: $2a_{L+1} + c = 1$",
            "initial readout $a_{L+1} + b_{L+1}$",
            "learning rate $c$",
            lambda s, c: network((1 - c) / 2, s - (1 - c) / 2, c),
            face,
            (Fraction(1, 4), Fraction(3, 2)),
            (Fraction(-1, 4), Fraction(3, 2)),
        ),
    )


def _grid(low: Fraction, high: Fraction, step: Fraction) -> list[Fraction]:
    return [low + k * step for k in range(int((high - low) / step) + 1)]
