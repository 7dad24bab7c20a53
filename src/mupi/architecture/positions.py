"""Operations between positions."""

from dataclasses import dataclass
from math import prod
from typing import Any

from mupi.architecture.operation import Operation, shown
from mupi.architecture.shape import Shape
from mupi.checks import positive_int


@dataclass(frozen=True)
class AveragePool(Operation):
    """The average over blocks of positions.

    Args:
        size: Sides of the blocks, one for each axis of positions; empty for all positions, which leaves none.
        stride: Every how many positions there is a block; empty for the size.
    """

    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "stride", self.stride or self.size)
        for k in (*self.size, *self.stride):
            positive_int("AveragePool(size=..., stride=...)", k)

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        if not self.size:
            self.needs(bool(x.positions), "positions to average over", x)
            return Shape((), x.channels)
        self.needs(len(x.positions) == len(self.size) and not x.flat, f"{len(self.size)} axes of positions", x)
        sizes = zip(x.positions, self.size, self.stride, strict=True)
        out = tuple((n - size) // stride + 1 for n, size, stride in sizes)
        self.needs(all(n > 0 for n in out), "at least as large as a block", x)
        return Shape(out, x.channels)

    def __str__(self) -> str:
        """As it is written."""
        stride = f", {shown(self.stride, 'stride')}" if self.stride != self.size else ""
        return f"AveragePool({shown(self.size, '')}{stride})" if self.size else "mean over positions"


@dataclass(frozen=True)
class Flatten(Operation):
    """All positions of a layer into its channels."""

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.is_layer and bool(x.positions) and not x.flat, "a layer with positions", x)
        return Shape((), x.channels, x.positions)


@dataclass(frozen=True)
class Reshape(Operation):
    """Other axes for the same numbers, in the same order: of data all of them, of a layer its positions.

    Args:
        axes: The axes after it.
    """

    axes: tuple[int, ...]

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.channels is not None and not x.flat, "numbers, not flattened", x)
        old: tuple[Any, ...] = x.positions if x.is_layer else (*x.positions, x.channels)
        self.needs(prod(self.axes) == prod(old), f"as many entries as {self.axes}", x)
        if x.is_layer:
            return Shape(self.axes, x.channels)
        self.needs(bool(self.axes), "at least one axis", self.axes)
        return Shape(self.axes[:-1], self.axes[-1])


@dataclass(frozen=True)
class Permute(Operation):
    """The axes in another order: of data all of them, of a layer its positions.

    Args:
        order: For each new axis which of the old ones it is, the batch not counted.
    """

    order: tuple[int, ...]

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.channels is not None and not x.flat, "numbers, not flattened", x)
        old: tuple[Any, ...] = x.positions if x.is_layer else (*x.positions, x.channels)
        self.needs(sorted(self.order) == list(range(len(old))), f"{len(self.order)} axes", x)
        new = tuple(old[i] for i in self.order)
        if x.is_layer:
            return Shape(new, x.channels)
        return Shape(new[:-1], new[-1])


@dataclass(frozen=True)
class Join(Operation):
    """Two values one after the other along the first axis of positions: a class token before the patches, say."""

    reads = 2

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        x, y = inputs
        same = x.channels == y.channels and not x.flat and not y.flat
        self.needs(same, f"of as many channels as {x}", y)
        fits = bool(x.positions) and len(x.positions) == len(y.positions) and x.positions[1:] == y.positions[1:]
        self.needs(fits, f"of positions that fit {x}", y)
        return Shape((x.positions[0] + y.positions[0], *x.positions[1:]), x.channels)


@dataclass(frozen=True)
class Select(Operation):
    """One position, or some that follow one another, of the first axis: x[:, i], x[:, i:j].

    Args:
        start: The first position i.
        stop: j; None for i alone, whose axis goes.
    """

    start: int
    stop: int | None = None

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        stop = self.start + 1 if self.stop is None else self.stop
        fits = bool(x.positions) and 0 <= self.start < stop <= x.positions[0] and not x.flat
        self.needs(fits, f"positions {self.start} to {stop - 1}", x)
        return Shape((() if self.stop is None else (stop - self.start,)) + x.positions[1:], x.channels)


@dataclass(frozen=True)
class Attention(Operation):
    """Softmax attention of queries, keys and values: Σ_p' softmax_p'(c·d^e·⟨q(p), k(p')⟩) v(p') in each head.

    A head has d = n/heads coordinates of each. μP's e is −1 (Yang et al. 2022); with −½, which most code has, logits
    have a random part at the start, and the limit is not Gaussian.

    Args:
        heads: Number of heads.
        causal: Whether a position sees itself and those before it only.
        factor: c; None for what the reading finds sensible.
        exponent: The exponent e.
    """

    heads: int = 1
    causal: bool = False
    factor: float | None = None
    exponent: float = -1.0

    reads = 3

    def __post_init__(self):
        positive_int("Attention(heads=...)", self.heads)

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        query, key, value = inputs
        self.needs(
            all(x.is_layer and len(x.positions) == 1 and not x.flat for x in inputs), "layers of one axis", inputs
        )
        self.needs(query.channels == key.channels and key.positions == value.positions, "keys that fit", inputs)
        self.needs(not self.causal or query.positions == key.positions, "as many queries as keys, to be causal", inputs)
        return Shape(query.positions, value.channels)
