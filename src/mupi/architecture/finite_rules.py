"""What each operation does in a finite network: a rule makes the function of the values that it reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.rules import Refused, Rules
from mupi.architecture.scaled import (
    ScaledConv,
    ScaledEmbedding,
    ScaledLinear,
    ScaledNorm,
    ScaledTable,
    convolve,
    normalized,
)
from mupi.architecture.scaling import Lent, Scaled, Scaling
from mupi.architecture.shape import Shape, Size, Width
from mupi.architecture.weights import Conv, Dense, Embed, Table
from mupi.layers import Center as RunningCenter

finite = Rules("a finite network", "mupi.architecture.finite.register")
"""Rules (operation, place, *shapes that it reads) ↦ function of the values, a module if it has parameters.

Values have the axes (batch, *positions, channels); those that do not depend on the input have a batch of 1.
"""

Step = Callable[..., Tensor]


@dataclass(frozen=True)
class Place:
    """What a rule is told of the network beside the operation.

    Attributes:
        scaling: Of the operation's weight, if it has one, before its fan-in is counted; else of a vector.
        embed_std: Standard deviation of the entries of embeddings and tables.
        input_std: Of those of the first weights, whatever their fan-in; None for std/√fan-in.
        fan_in_multiplier: Whether 1/√fan-in is in the multiplier rather than in the initial values.
        owner: The module whose weight this operation has, too; None if it has one of its own.
        tie: n^{δ}: what that weight is multiplied by, so that its entries are of the size that they have in this role.
    """

    scaling: Scaling
    embed_std: float
    input_std: float | None
    fan_in_multiplier: bool
    owner: Scaled | None = None
    tie: float = 1.0

    @property
    def width(self) -> int:
        """n."""
        return self.scaling.width

    def size(self, channels: Size | None) -> int:
        """Of an axis."""
        assert channels is not None
        return channels.at(self.width) if isinstance(channels, Width) else channels

    def weighing(self, read: Shape, kernel: tuple[int, ...] = (), *, bias: bool) -> Scaling:
        """The scaling of a weight that reads such values: std·n^{−b}/√m, for a fan-in of m, or of m·n.

        m is the product of all finite sizes: channels of data, positions of a flattened layer, sides of a kernel, and
        the multiple of n that the channels of a layer are.
        """
        m, s = finite_fan_in(read, kernel), self.scaling
        s = s if bias else replace(s, bias_scale=0.0)
        if s.role == "input" and self.input_std is not None:
            return replace(s, std=self.input_std)
        if self.fan_in_multiplier:
            return replace(s, scale=s.scale / m**0.5, bias_scale=s.bias_scale * m**0.5)
        return replace(s, std=s.std / m**0.5)


def finite_fan_in(read: Shape, kernel: tuple[int, ...] = ()) -> float:
    """m, for a fan-in of m, or of m·n: see `Place.weighing`."""
    channels = read.channels.times if isinstance(read.channels, Width) else read.channels
    assert channels is not None
    return float(channels * prod(read.flat) * prod(kernel))


@finite.register(Dense)
def _dense(operation: Dense, place: Place, read: Shape) -> Step:
    d_in, d_out = place.size(read.axes[-1]), place.size(operation.out)
    if place.owner is not None:
        return _tied(place, nn.functional.linear, (d_out, d_in), operation.bias)
    s = place.weighing(read, bias=operation.bias)
    options = {name: getattr(s, name) for name in s.__dataclass_fields__ if name != "role"}
    return ScaledLinear(d_in, d_out, **options)


@finite.register(Conv)
def _conv(operation: Conv, place: Place, read: Shape) -> Step:
    d_in, d_out = place.size(read.channels), place.size(operation.out)
    around = operation.stride, operation.padding, operation.mode
    if place.owner is not None:
        return _tied(place, _Convolution(*around), (d_out, d_in, *operation.size), operation.bias)
    s = place.weighing(read, operation.size, bias=operation.bias)
    return ScaledConv(d_in, d_out, operation.size, *around, s)


@finite.register(Embed)
def _embed(operation: Embed, place: Place, read: Shape) -> Step:
    size = operation.count, place.size(operation.out)
    if place.owner is not None:
        return _tied(place, nn.functional.embedding, size, False)
    return ScaledEmbedding(*size, replace(place.scaling, std=place.embed_std, bias_scale=0.0))


@finite.register(Table)
def _table(operation: Table, place: Place) -> Step:
    if place.owner is not None:
        raise Refused("a table has a parameter of its own")
    s = replace(place.scaling, std=place.embed_std, bias_scale=0.0)
    return ScaledTable(operation.positions, place.size(operation.out), s)


@finite.register(Normalize)
def _normalize(operation: Normalize, place: Place, read: Shape) -> Step:
    owner = place.owner
    if owner is not None and not isinstance(owner, ScaledNorm):
        raise Refused(f"its parameters are those of a {type(owner).__name__}")
    size, o = place.size(read.channels), operation
    if not o.gain and not o.shift:
        return partial(normalized, o.subtract, o.eps)
    s = replace(place.scaling, scale=1.0, bias_scale=1.0)
    return owner or ScaledNorm(size, o.subtract, o.eps, o.gain, o.shift, s)


@finite.register(Activate)
def _activate(operation: Activate, place: Place, read: Shape) -> Activation:
    return operation.activation


@finite.register(Add)
def _add(operation: Add, place: Place, x: Shape, y: Shape) -> Step:
    return partial(_together, torch.add)


@finite.register(Multiply)
def _multiply(operation: Multiply, place: Place, x: Shape, y: Shape) -> Step:
    return partial(_together, torch.mul)


def _together(operation: Step, x: Tensor, y: Tensor) -> Tensor:
    """Positions of the one that has fewer are the last of the other's; the batch stays in front."""
    more = max(x.ndim, y.ndim)
    x, y = (v.reshape(len(v), *[1] * (more - v.ndim), *v.shape[1:]) for v in (x, y))
    return operation(x, y)


@finite.register(Scale)
def _scale(operation: Scale, place: Place, read: Shape) -> Step:
    return partial(torch.mul, other=operation.factor * place.width**operation.exponent)


@finite.register(Center)
def _center(operation: Center, place: Place, read: Shape) -> Step:
    s = place.scaling
    return RunningCenter(place.size(read.axes[-1]), dtype=s.dtype, device=s.device)


@finite.register(Dropout)
def _dropout(operation: Dropout, place: Place, read: Shape) -> Step:
    return nn.Dropout(operation.p)


@finite.register(AveragePool)
def _average_pool(operation: AveragePool, place: Place, read: Shape) -> Step:
    if not operation.size:
        return mean_over_positions
    if len(operation.size) > 3:
        raise Refused("torch averages over blocks of one, two or three axes", "write it as several")
    return partial(_blocks, operation)


def mean_over_positions(x: Float[Tensor, "batch *positions n"]) -> Float[Tensor, "batch n"]:
    """The mean over all axes but the first and the last."""
    # Along the last axes, as convolutions have positions: gradients of the other order have other roundings.
    return x.movedim(-1, 1).mean(tuple(range(2, x.ndim))) if x.ndim > 2 else x


def _blocks(operation: AveragePool, x: Tensor) -> Tensor:
    f = nn.functional
    pool = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)[len(operation.size) - 1]
    return pool(x.movedim(-1, 1), operation.size, operation.stride).movedim(1, -1)


@finite.register(Flatten)
def _flatten(operation: Flatten, place: Place, read: Shape) -> Step:
    return partial(torch.flatten, start_dim=1)


@finite.register(Reshape)
def _reshape(operation: Reshape, place: Place, read: Shape) -> Step:
    return partial(_reshaped, operation.axes, read.is_layer)


def _reshaped(axes: tuple[int, ...], is_layer: bool, x: Tensor) -> Tensor:
    return x.reshape(len(x), *axes, *x.shape[-1:] * is_layer)


@finite.register(Permute)
def _permute(operation: Permute, place: Place, read: Shape) -> Step:
    axes = [0, *(1 + i for i in operation.order)]
    return partial(torch.permute, dims=tuple(axes + [len(axes)] * read.is_layer))


@finite.register(Join)
def _join(operation: Join, place: Place, x: Shape, y: Shape) -> Step:
    return _joined


def _joined(x: Tensor, y: Tensor) -> Tensor:
    batch = max(len(x), len(y)) if len(x) and len(y) else 0
    return torch.cat([v.expand(batch, *v.shape[1:]) for v in (x, y)], 1)


@finite.register(Select)
def _select(operation: Select, place: Place, read: Shape) -> Step:
    if operation.stop is None:
        return partial(torch.select, dim=1, index=operation.start)
    return partial(torch.narrow, dim=1, start=operation.start, length=operation.stop - operation.start)


@finite.register(Attention)
def _attention(operation: Attention, place: Place, query: Shape, key: Shape, value: Shape) -> Step:
    for shape in (query, value):
        if place.size(shape.channels) % operation.heads:
            raise Refused(f"{place.size(shape.channels)} channels are not {operation.heads} heads of as many")
    head = place.size(query.channels) // operation.heads
    factor = 1.0 if operation.factor is None else operation.factor
    return partial(_attend, operation.heads, factor * head**operation.exponent, operation.causal)


def _attend(heads: int, scale: float, causal: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in (query, key, value))
    logits = scale * torch.einsum("bphd,bshd->bhps", q.expand(max(len(q), len(k)), *q.shape[1:]), k)
    if causal:
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(later, -torch.inf)
    return torch.einsum("bhps,bshd->bphd", logits.softmax(-1), v).flatten(-2)


class _Convolution:
    """A convolution without a weight of its own.

    Args:
        stride: Stride along each axis.
        padding: Padding along each axis.
        mode: What is padded with, "zeros" or "circular".
    """

    def __init__(self, stride: tuple[int, ...], padding: tuple[int, ...], mode: str):
        self.around = stride, padding, mode

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        return convolve(x, weight, *self.around)


class Tied(Scaled):
    """An operation whose weight is another's; a bias is the other's if that has one, else its own.

    Args:
        owner: Whose weight; the network gives it in each call, since a module may be replaced.
        operation: Of values and weight.
        tie: What the owner's multiplier is multiplied by.
        bias: Whether it has one.
        scaling: Of a weight in its place.
    """

    weight = None  # pyright: ignore[reportAssignmentType]

    def __init__(self, owner: Scaled, operation: Step, tie: float, bias: bool, scaling: Scaling):
        super().__init__()
        self.scale_by(scaling)
        self.weight_multiplier = owner.weight_multiplier * tie
        self.operation, self.has_bias = operation, bias
        self.bias = scaling.draw_bias(len(owner.weight)) if bias and owner.bias is None else None

    def forward(self, x: Tensor, owner: Scaled | Lent) -> Tensor:
        """See the class."""
        out = self.weight_multiplier * self.operation(x, owner.weight)
        bias = owner.bias if self.bias is None else self.bias
        return out if not self.has_bias or bias is None else out + self.bias_multiplier * bias


def _tied(place: Place, operation: Step, shape: tuple[int, ...], bias: bool) -> Step:
    owner = place.owner
    have = None if owner is None or owner.weight is None else tuple(owner.weight.shape)
    if owner is None or have != shape:
        raise Refused(f"its weight of shape {shape} is one of shape {have}")
    return Tied(owner, operation, place.tie, bias, place.scaling)
