"""Networks drawn at random from all that descriptions are made of: for readings to be held against each other."""

from collections.abc import Callable
from math import prod
from random import Random

import torch

from mupi.activations import GELU, Abs, Cos, Erf, Identity, NormalizedPolynomial, Polynomial, ReLU, Tanh, as_activation
from mupi.architecture import (
    Add,
    Architecture,
    Attention,
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
    Value,
    Width,
    activate,
)
from mupi.architecture.draft import Draft
from mupi.architecture.operation import Input, Operation
from mupi.architecture.shape import Shape, Size

n = Width()
POLYNOMIALS = (Identity(), Polynomial((0.0, 0.3, 0.5)), NormalizedPolynomial((0.2, 0.8, 0.5)))
ΦS = (*POLYNOMIALS, ReLU(), Erf(), Cos(), Abs(), Tanh(), GELU(), as_activation(torch.nn.functional.silu))
WIDTHS = (n, 2 * n)


class Writer:
    """Writes one network at random, and knows the shapes of its values.

    Args:
        seed: Of all choices.
        polynomial: Whether φ's are polynomials.
        widths: Those that layers have.
    """

    def __init__(self, seed: int, polynomial: bool = False, widths=WIDTHS):
        self.random, self.draft, self.shapes = Random(seed), Draft(), []
        self.φs, self.widths = POLYNOMIALS if polynomial else ΦS, widths
        self.tied: dict[tuple, str] = {}

    def write(self, operation: Operation, *values: Value, weights: str = "") -> Value:
        """A step; ``ValueError`` where shapes do not fit."""
        self.shapes.append(operation.shape(*(self.shape(value) for value in values)))
        return self.draft.write(operation, [value.place for value in values], weights=weights)

    def shape(self, value: Value) -> Shape:
        return self.shapes[value.place]

    def channels(self, value: Value) -> Size:
        channels = self.shape(value).channels
        assert channels is not None
        return channels

    def choice(self, values):
        return self.random.choice(list(values))

    def yes(self, p: float = 0.5) -> bool:
        return self.random.random() < p

    def network(self) -> Architecture:
        axes, integers = self.choice([((3,), 0), ((3, 2), 0), ((2, 3, 4), 0), ((3,), 1)])
        x = self.write(Input(axes, bool(integers)))
        if len(axes) == 3:
            x = self.write(Permute((1, 2, 0)), x)
        elif len(axes) == 2 and self.yes(0.2):
            x = self.write(Reshape((3, 2)), x)
        h = self.write(Embed(4, n), x) if integers else self.first(x)
        for _ in range(self.random.randint(1, 4)):
            step: Callable[[Writer, Value], Value] = self.choice(STEPS)
            known = len(self.draft.nodes)
            try:
                h = step(self, h)
            except ValueError:  # of shapes that do not fit
                del self.draft.nodes[known:], self.shapes[known:]
        return Architecture(self.draft.finish(self.last(h)))

    def first(self, x: Value) -> Value:
        if self.yes(0.15):
            x = self.write(Scale(0.8), x)
        return self.conv(x) if self.yes() and self.shape(x).positions else self.weight(x)

    def weight(self, x: Value, tie: bool = False) -> Value:
        operation = Dense(self.choice(self.widths), self.yes(0.7))
        key = operation, self.shape(x).channels, self.shape(x).flat, self.shape(x).is_layer
        name = self.tied.get(key, "") if tie else ""
        out = self.write(operation, x, weights=name)
        self.tied.setdefault(key, self.draft.nodes[out.place].owner)
        return out

    def conv(self, x: Value) -> Value:
        axes = len(self.shape(x).positions)
        size, stride, padding = (tuple(self.choice(k) for _ in range(axes)) for k in ((1, 2, 3), (1, 1, 2), (0, 1, 2)))
        mode = self.choice(["zeros", "circular"])
        return self.write(Conv(n, size, stride, padding, mode, self.yes(0.7)), x)

    def linear(self, x: Value) -> Value:
        return self.conv(x) if self.shape(x).positions and self.yes() else self.weight(x, self.yes(0.3))

    def norm(self, x: Value) -> Value:
        return self.write(Normalize(self.yes(), self.choice([0.0, 1e-5, 0.3]), self.yes(0.3), self.yes(0.3)), x)

    def φ(self, x: Value) -> Value:
        return self.write(activate(self.choice(self.φs)), x)

    def φ_and_weight(self, x: Value) -> Value:
        return self.linear(self.φ(x))

    def residual(self, x: Value) -> Value:
        h = self.norm(x) if self.yes(0.7) else x
        h = self.write(Dense(self.channels(x), self.yes()), self.φ(h))
        return self.write(Add(), x, self.write(Scale(0.7), h) if self.yes() else h)

    def positions_of(self, x: Value) -> Value:
        shape = self.shape(x)
        axes = len(shape.positions)
        kind = self.choice(["pool", "overlap", "permute", "reshape", "select", "slice", "join", "skip"])
        if kind == "pool":
            return self.write(AveragePool(tuple(self.choice([1, 2]) for _ in range(axes))), x)
        if kind == "overlap":
            return self.write(AveragePool((2,) * axes, (1,) * axes), x)
        if kind == "permute":
            return self.write(Permute(tuple(reversed(range(axes)))), x)
        if kind == "reshape":
            return self.write(Reshape((prod(shape.positions),)), x)
        if kind == "select":
            return self.write(Select(self.random.randrange(shape.positions[0])), x)
        if kind == "slice":
            return self.write(Select(0, max(1, shape.positions[0] - 1)), x)
        if kind == "join":
            return self.write(Join(), self.write(Table((1, *shape.positions[1:]), self.channels(x))), x)
        return self.write(Add(), x, self.write(AveragePool(), x))

    def moved(self, x: Value) -> Value:
        return self.positions_of(x) if self.shape(x).positions else self.linear(x)

    def table(self, x: Value) -> Value:
        shape = self.shape(x)
        return self.write(Add(), x, self.write(Table(shape.positions if self.yes(0.7) else (), self.channels(x))))

    def attention(self, x: Value) -> Value:
        if len(self.shape(x).positions) != 1:
            return self.φ_and_weight(x)
        y = self.norm(x) if self.yes() else x
        q, k, v = (self.write(Dense(n, self.yes(0.3)), y) for _ in range(3))
        h = self.write(Attention(self.choice([1, 2]), self.yes()), q, k, v)
        h = self.write(Dense(self.channels(x), self.yes()), h)
        return self.write(Add(), x, h) if self.yes() else h

    def gate(self, x: Value) -> Value:
        u, v = (self.write(Dense(2 * n, self.yes()), x) for _ in range(2))
        h = self.write(Dense(self.channels(x)), self.write(Multiply(), self.φ(u), v))
        return self.write(Add(), x, h) if self.yes() else h

    def small(self, x: Value) -> Value:
        return self.write(Dropout(0.1), x) if self.yes() else self.write(Scale(self.choice([0.5, -1.2])), x)

    def last(self, h: Value) -> Value:
        if self.yes(0.5):
            h = self.norm(h)
        if self.yes(0.6):
            h = self.φ(h)
        if self.shape(h).positions:
            end = self.choice([AveragePool(), Flatten(), Select(0), None])
            h = h if end is None else self.write(end, h)
        return self.write(Dense(2, self.yes()), h)


STEPS = (
    *[Writer.φ_and_weight] * 3, *[Writer.residual] * 2, *[Writer.moved] * 2, Writer.table, Writer.attention,
    Writer.gate, Writer.small, Writer.φ, Writer.norm,
)  # fmt: skip


def random_network(seed: int, polynomial: bool = False, widths=WIDTHS) -> Architecture:
    """A network from the seed."""
    return Writer(seed, polynomial, widths).network()


def some_inputs(net: Architecture, batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Of float64, or integers below 4."""
    generator = torch.Generator().manual_seed(seed)
    if net.input.integers:
        return torch.randint(0, 4, (batch, *net.input.axes), generator=generator)
    return torch.randn(batch, *net.input.axes, dtype=torch.float64, generator=generator)
