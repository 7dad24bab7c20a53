"""Sizes of values and gradients as powers of the width, and the rules that say what each operation makes of them.

A size is an exponent e of Θ(n^e), an exact `Fraction`, or −∞ for what is exactly zero. Sums take the larger exponent,
products the sum of both (max-plus), and a sum over a layer's n coordinates adds ½ where its terms are independent with
mean zero (central limit) and 1 where they are correlated (law of large numbers).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from mupi.architecture import Rules, Shape

ZERO = -math.inf
"""The exponent of what is exactly zero."""

HALF, ONE, NONE = Fraction(1, 2), Fraction(1), Fraction(0)

Exponent = Fraction | float
"""A `Fraction`, or `ZERO`."""


Parts = Mapping[str, Exponent]
"""Of a layer, how large its part along each source is: a parameter's rows ("w weight"), or, of the gradients that came
through a matrix, its columns ("w weightᵀ"), which are as good as independent of the rows."""


@dataclass(frozen=True)
class Size:
    """Root mean square of the coordinates of a value, or of a gradient, at the start and in what training has changed.

    Attributes:
        start: The size at the start.
        change: Of what training has changed in it.
        along: The parts at the start.
        moved: The parts of the change.
    """

    start: Exponent
    change: Exponent = ZERO
    along: Parts = field(default_factory=dict)
    moved: Parts = field(default_factory=dict)

    @property
    def now(self) -> Exponent:
        """Of both together."""
        return max(self.start, self.change)

    @property
    def parts(self) -> Parts:
        """Of both together."""
        return larger(self.along, self.moved)

    def times(self, exponent: Exponent) -> "Size":
        """Times something of size n^exponent."""
        along, moved = by(self.along, exponent), by(self.moved, exponent)
        return Size(self.start + exponent, self.change + exponent, along, moved)

    def plus(self, other: "Size") -> "Size":
        """The size of a sum."""
        return Size(
            max(self.start, other.start),
            max(self.change, other.change),
            larger(self.along, other.along),
            larger(self.moved, other.moved),
        )


NOTHING = Size(ZERO)


def larger(*parts: Parts) -> Parts:
    """The parts of a sum."""
    return {source: max(p.get(source, ZERO) for p in parts) for source in {s for p in parts for s in p}}


def by(parts: Parts, exponent: Exponent) -> Parts:
    """The parts times n^exponent."""
    return {source: e + exponent for source, e in parts.items()}


def inner(x: Size, y: Size) -> Size:
    """Σ_α x_α y_α over n coordinates: n^½ for what is independent, with mean zero, n for parts along one source."""
    changes = (
        _product(x.change, x.moved, y.start, y.along),
        _product(x.start, x.along, y.change, y.moved),
        _product(x.change, x.moved, y.change, y.moved),
    )
    return Size(_product(x.start, x.along, y.start, y.along), max(changes))


def _product(x: Exponent, of_x: Parts, y: Exponent, of_y: Parts) -> Exponent:
    return max([x + y + HALF, *(e + of_y[source] + ONE for source, e in of_x.items() if source in of_y)])


@dataclass(frozen=True)
class Entry:
    """Entries of a parameter.

    Attributes:
        source: What tells them from all others: parts of one parameter (a fused q, k and v) are independent.
        start: Exponent of their standard deviation at the start.
        change: Of what training has changed.
    """

    source: str
    start: Exponent
    change: Exponent = ZERO

    @property
    def now(self) -> Exponent:
        """Of both together."""
        return max(self.start, self.change)


@dataclass(frozen=True)
class Surroundings:
    """What a rule is told beside the operation and the values that it reads.

    Attributes:
        parameters: The node's own, by what they are to it: weight, bias, gain, shift.
        towards: The parts of the gradients by which its parameters have been moved, relative to these: what an update
            adds to the value is proportional to them.
        reads: Shapes of what it reads.
        out: Shape of what it makes.
    """

    parameters: Mapping[str, Entry]
    towards: Parts
    reads: tuple[Shape, ...]
    out: Shape


@dataclass(frozen=True)
class Step:
    """What an operation makes of sizes.

    Attributes:
        value: The size of what comes out.
        back: From the gradient of what comes out, those of what it reads.
        gradients: From the gradient of what comes out, the exponent of each parameter's, by what it is to the node.
        own: Of a weight: what its own update changes in the value.
        passed: Of a weight: what its initial entries make of the change of what they read.
        logits: Of attention: ⟨q, k⟩ with its multiplier.
    """

    value: Size
    back: Callable[[Size], tuple[Size, ...]]
    gradients: Callable[[Size], dict[str, Exponent]] = field(default=lambda gradient: {})
    own: Exponent = ZERO
    passed: Exponent = ZERO
    logits: Size | None = None


sizes = Rules("a predicted size", "mupi.mup.sizes.register")
"""Rules (operation, `Surroundings`, *`Size` of each value that it reads) ↦ `Step`."""


def register(operation: type) -> Callable[..., Any]:
    """Decorate the rule of an operation of your own.

    >>> from dataclasses import dataclass
    >>> from mupi.architecture import Operation
    >>> from mupi.mup.sizes import Step, register
    >>> @dataclass(frozen=True)
    ... class Reverse(Operation):
    ...     def shape(self, *inputs):
    ...         return inputs[0]
    >>> @register(Reverse)
    ... def _(operation, around, x):
    ...     return Step(x, back=lambda gradient: (gradient,))
    """
    return sizes.register(operation)
