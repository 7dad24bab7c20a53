"""Operations on data, values of finitely many channels that no weight has touched: ordinary tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mupi.architecture.coordinates import Activate, Add, Dropout, Multiply, Scale
from mupi.architecture.kernel.sides import MeanOfBlocks
from mupi.architecture.positions import AveragePool, Join, Permute, Reshape, Select
from mupi.architecture.rules import Refused, Rules

on_data: Rules = Rules("an NNGP and an NTK", "mupi.architecture.kernel.data_values.register")
"""(operation, *tensors (n, positions, channels)) ↦ tensor."""

HOMOGENEOUS = (Add, Dropout, AveragePool, Join, Permute, Reshape, Select, Scale)
"""Operations that commute with a factor: those of inputs that are shrunk so that their squares are numbers."""


def register(operation: type) -> Callable[[Callable[..., Tensor]], Any]:
    """Decorate the rule of a kind of operation."""
    return on_data.register(operation)


@register(Activate)
def _(operation: Activate, x: Tensor) -> Tensor:
    return operation.activation(x)


@register(Add)
def _(operation: Add, x: Tensor, y: Tensor) -> Tensor:
    x, y = _same_axes(x, y)
    return x + y


@register(Multiply)
def _(operation: Multiply, x: Tensor, y: Tensor) -> Tensor:
    x, y = _same_axes(x, y)
    return x * y


def _same_axes(*values: Tensor) -> list[Tensor]:
    """With axes of positions of size 1 before those of the values that have fewer."""
    most = max(value.ndim for value in values)
    return [value.reshape(len(value), *(1,) * (most - value.ndim), *value.shape[1:]) for value in values]


@register(Scale)
def _(operation: Scale, x: Tensor) -> Tensor:
    if operation.exponent:
        raise Refused("data times a power of the width", "leave it to the weights")
    return operation.factor * x


@register(Dropout)
def _(operation: Dropout, x: Tensor) -> Tensor:
    return x


@register(AveragePool)
def _(operation: AveragePool, x: Tensor) -> Tensor:
    if not operation.size:
        return x.mean(tuple(range(1, x.ndim - 1)))
    return MeanOfBlocks(operation.size, operation.stride)(x, 1)


@register(Permute)
def _(operation: Permute, x: Tensor) -> Tensor:
    return x.permute(0, *(i + 1 for i in operation.order))


@register(Reshape)
def _(operation: Reshape, x: Tensor) -> Tensor:
    return x.reshape(len(x), *operation.axes)


@register(Select)
def _(operation: Select, x: Tensor) -> Tensor:
    return x[:, operation.start] if operation.stop is None else x[:, operation.start : operation.stop]


@register(Join)
def _(operation: Join, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y], 1)
