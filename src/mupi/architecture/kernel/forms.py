"""The form of each operation in a kernel: what its value is, of those that it reads.

Almost all operations have one of a few forms. A user's own gets one by a rule of its own:

    @forms.register(GatedResidual)
    def _(operation, shapes, out):
        return Linear(((0, Times()), (1, Times(operation.gate))))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mupi.activations import Activation, Identity
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.kernel.sides import (
    Broadcast,
    Mean,
    MeanOfBlocks,
    MeanOfEarlier,
    Place,
    Regroup,
    Side,
    Take,
    Times,
    Transpose,
)
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.rules import Refused, Rules
from mupi.architecture.shape import Shape
from mupi.architecture.weights import Conv, Dense, Embed, Table

PROGRAM = "arch.program(x) computes its limit for given inputs"


@dataclass(frozen=True)
class Weight:
    """A layer of a weight's own: K = σ_w² (average of the moments that it reads) + σ_b².

    Attributes:
        reads: "data" or "layer", "tokens", or "nothing": a vector for each position.
        conv: Over which offsets it averages, None for none.
        bias: Whether there is a bias.
    """

    reads: str
    conv: Conv | None = None
    bias: bool = False


@dataclass(frozen=True)
class Function:
    """φ of a linear value, which must be Gaussian."""

    activation: Activation


@dataclass(frozen=True)
class Linear:
    """Σ_k of sides of the values that it reads, given as (which, side)."""

    terms: tuple[tuple[int, Side], ...]


@dataclass(frozen=True)
class Normal:
    """(y − E y)/√(Var y + eps), or without E y; γ = 1 and β = 0, where they are, learn."""

    subtract: bool
    eps: float
    gain: bool
    shift: bool


@dataclass(frozen=True)
class Product:
    """A product of two values."""


@dataclass(frozen=True)
class Flat:
    """Positions that became channels."""


Form = Weight | Function | Linear | Normal | Product | Flat
Shapes = tuple[Shape, ...]

forms: Rules = Rules("an NNGP and an NTK", "mupi.architecture.kernel.forms.register")
"""(operation, shapes that it reads, its own) ↦ `Form`."""


def register(operation: type) -> Callable[[Callable[[Any, Shapes, Shape], Form]], Any]:
    """Decorate the rule of a kind of operation."""
    return forms.register(operation)


@register(Dense)
def _(operation: Dense, shapes: Shapes, out: Shape) -> Form:
    return Weight("layer" if shapes[0].is_layer else "data", None, operation.bias)


@register(Conv)
def _(operation: Conv, shapes: Shapes, out: Shape) -> Form:
    return Weight("layer" if shapes[0].is_layer else "data", operation, operation.bias)


@register(Embed)
def _(operation: Embed, shapes: Shapes, out: Shape) -> Form:
    return Weight("tokens")


@register(Table)
def _(operation: Table, shapes: Shapes, out: Shape) -> Form:
    return Weight("nothing")


@register(Activate)
def _(operation: Activate, shapes: Shapes, out: Shape) -> Form:
    if isinstance(operation.activation, Identity):
        return Linear(((0, Times()),))
    return Function(operation.activation)


@register(Multiply)
def _(operation: Multiply, shapes: Shapes, out: Shape) -> Form:
    if any(shape.positions != out.positions for shape in shapes):
        raise Refused("a product of values of different positions", PROGRAM)
    return Product()


@register(Normalize)
def _(operation: Normalize, shapes: Shapes, out: Shape) -> Form:
    return Normal(operation.subtract, operation.eps, operation.gain, operation.shift)


@register(Add)
def _(operation: Add, shapes: Shapes, out: Shape) -> Form:
    sides = (
        Times() if shape.positions == out.positions else Broadcast(shape.positions, out.positions) for shape in shapes
    )
    return Linear(tuple(enumerate(sides)))


@register(Scale)
def _(operation: Scale, shapes: Shapes, out: Shape) -> Form:
    if operation.exponent:
        raise Refused(f"a factor n^{operation.exponent:g}, which has no limit of its own", "leave it to the weights")
    return Linear(((0, Times(float(operation.factor))),))


@register(Dropout)
def _(operation: Dropout, shapes: Shapes, out: Shape) -> Form:
    return Linear(((0, Times()),))


@register(Center)
def _(operation: Center, shapes: Shapes, out: Shape) -> Form:
    raise Refused("it depends on the other samples of a batch, and a kernel on two inputs alone", "leave it out")


@register(AveragePool)
def _(operation: AveragePool, shapes: Shapes, out: Shape) -> Form:
    side = MeanOfBlocks(operation.size, operation.stride) if operation.size else Mean(shapes[0].positions)
    return Linear(((0, side),))


@register(Flatten)
def _(operation: Flatten, shapes: Shapes, out: Shape) -> Form:
    return Flat()


@register(Reshape)
def _(operation: Reshape, shapes: Shapes, out: Shape) -> Form:
    return Linear(((0, Regroup(shapes[0].positions, out.positions)),))


@register(Permute)
def _(operation: Permute, shapes: Shapes, out: Shape) -> Form:
    return Linear(((0, Transpose(operation.order)),))


@register(Select)
def _(operation: Select, shapes: Shapes, out: Shape) -> Form:
    return Linear(((0, Take(operation.start, operation.stop)),))


@register(Join)
def _(operation: Join, shapes: Shapes, out: Shape) -> Form:
    first, second = (shape.positions[0] for shape in shapes)
    return Linear(((0, Place(0, second)), (1, Place(first, 0))))


@register(Attention)
def _(operation: Attention, shapes: Shapes, out: Shape) -> Form:
    if operation.exponent == -0.5:
        raise Refused(
            "logits q·k/√d are random at the start, and the limit is no Gaussian process",
            "use μP's 1/d, at which attention is uniform at the start",
        )
    if operation.exponent > -0.5:
        raise Refused(f"logits grow as d^{operation.exponent + 0.5:g}", "use μP's 1/d")
    return Linear(((2, MeanOfEarlier() if operation.causal else Mean(shapes[2].positions, out.positions)),))
