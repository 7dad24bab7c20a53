"""Sizes of values and gradients as powers of the width, and the rules that say what each operation makes of them.

A size is an exponent e of Θ(n^e), an exact `Fraction`, or −∞ for what is exactly zero. Sums take the larger exponent,
products the sum of both (max-plus), and a sum over a layer's n coordinates adds ½ where its terms are independent with
mean zero (central limit) and 1 where they are correlated (law of large numbers).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from mupi.architecture import Rules, Shape

ZERO = -math.inf
"""The exponent of what is exactly zero."""

HALF, ONE, NONE = Fraction(1, 2), Fraction(1), Fraction(0)

Exponent = Fraction | float
"""A `Fraction`, or `ZERO`."""


@dataclass(frozen=True)
class Size:
    """Root mean square of the coordinates of a value, or of a gradient, in two parts.

    Attributes:
        start: Of a value, its size at the start. Of a gradient, of the part that came through initial weights alone,
            whose coordinates are independent of the values'.
        change: Of a value, what training has changed. Of a gradient, the part that came through what training has
            changed, which is aligned with values.
        sources: Of a layer, the parameters with n entries, or rows of n entries, that its coordinates are functions of
            (of a gradient: whose entries it is proportional to).
    """

    start: Exponent
    change: Exponent = ZERO
    sources: frozenset[str] = frozenset()

    @property
    def now(self) -> Exponent:
        """Of both together."""
        return max(self.start, self.change)

    def times(self, exponent: Exponent) -> "Size":
        """Times something of size n^exponent."""
        return replace(self, start=self.start + exponent, change=self.change + exponent)

    def plus(self, other: "Size") -> "Size":
        """The size of a sum."""
        return Size(max(self.start, other.start), max(self.change, other.change), self.sources | other.sources)


NOTHING = Size(ZERO)


def inner(x: Size, y: Size) -> Size:
    """Σ_α x_α y_α over n coordinates.

    What is independent at the start, with mean zero, gives n^½; what has one source, or has been moved by training
    along the other, gives n.
    """
    shared = ONE if x.sources & y.sources else HALF
    return Size(x.start + y.start + shared, max(x.change + y.now, x.now + y.change) + ONE)


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
        reads: Shapes of what it reads.
        out: Shape of what it makes.
    """

    parameters: Mapping[str, Entry]
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
