"""The value of every operation of a traced module, computed from its description with the module's own parameters.

So everything that the graph has is seen: what a module puts out, whatever it returns, and what lies between modules.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mupi.architecture import (
    Attention,
    Conv,
    Dense,
    Description,
    Dropout,
    Embed,
    Node,
    Normalize,
    Place,
    Rules,
    Scaling,
    Shape,
    Table,
    Width,
    finite,
)
from mupi.architecture.scaled import convolve, normalized
from mupi.architecture.shape import Size
from mupi.parametrization import Parametrization

Kinds = Mapping[str, Tensor]
"""A node's parameters, by what they are to it."""

weighted = Rules("a value from a module's parameters", "mupi.mup.node_values.register")
"""Rules (operation, parameters, shape that it reads, *values) ↦ value, of operations with parameters."""


def register(operation: type) -> Callable[..., Any]:
    """Decorate the rule of an operation with parameters; one without has that of `mupi.architecture.finite`."""
    return weighted.register(operation)


def node_values(net: Description, state: Mapping[str, Tensor], x: Tensor, width: int) -> list[Tensor]:
    """The value of each node, (batch, *positions, channels); those that do not depend on x have a batch of 1.

    Args:
        net: What was traced.
        state: The parameters of the module, by their names.
        x: A batch of inputs, (batch, *axes).
        width: The width of the module.

    Raises:
        ValueError: If an operation has no rule.
    """
    own = node_parameters(net, state, width)
    bare = Place(Scaling("vector", 0, width, Parametrization.mup(1)), 1.0, None, False)
    values = [x]
    for node in net.nodes[1:]:
        read = [values[i] for i in node.inputs]
        shapes = [net.shapes[i] for i in node.inputs]
        if isinstance(node.operation, Dropout):
            values.append(read[0])  # as in evaluation
        elif weighted.covers(node.operation):
            given = {**own.get(node.owner, {}), **own.get(node.name, {})}
            values.append(weighted(node, given, shapes[0] if shapes else None, *read))
        else:
            values.append(finite(node, bare, *shapes)(*read))
    return values


def node_parameters(net: Description, state: Mapping[str, Tensor], width: int) -> dict[str, dict[str, Tensor]]:
    """For each node its own parameters: the parts of the module's that it uses, with the node's axes."""
    found: dict[str, dict[str, Tensor]] = {}
    for parameter in net.parameters:
        for use in parameter.uses:
            part = state[parameter.name]
            for cut in use.cuts:
                size, faster = _at(cut.size, width), _at(cut.faster, width)
                start, stop = _at(cut.start, width), _at(cut.stop, width)
                apart = part.unflatten(cut.axis, (-1, size, faster)).narrow(cut.axis + 1, start, stop - start)
                part = apart.flatten(cut.axis, cut.axis + 2)
            part = part.reshape([_at(size, width) for size in use.factors]).permute(use.order)
            found.setdefault(use.node, {})[use.kind] = part
    return found


def _at(size: Size, width: int) -> int:
    return size.at(width) if isinstance(size, Width) else size


def logits(node: Node, query: Tensor, key: Tensor) -> Tensor:
    """c·d^e⟨q(p), k(p')⟩ in each head, (batch, heads, queries, keys).

    Args:
        node: An `Attention`.
        query: Queries (batch, positions, n).
        key: Keys.
    """
    operation = node.operation
    assert isinstance(operation, Attention)
    q, k = (part.unflatten(-1, (operation.heads, -1)) for part in (query, key))
    factor = 1.0 if operation.factor is None else operation.factor
    return factor * q.shape[-1] ** operation.exponent * torch.einsum("bphd,bshd->bhps", q, k)


@register(Dense)
def _dense(operation: Dense, given: Kinds, read: Shape, x: Tensor) -> Tensor:
    # Axes of size 1 are none of its factors.
    return functional.linear(x, given["weight"].reshape(-1, x.shape[-1]), _bias(given))


def _bias(given: Kinds) -> Tensor | None:
    return given["bias"].flatten() if "bias" in given else None


@register(Conv)
def _conv(operation: Conv, given: Kinds, read: Shape, x: Tensor) -> Tensor:
    weight = given["weight"].reshape(-1, x.shape[-1], *operation.size)
    y = convolve(x, weight, operation.stride, operation.padding, operation.mode)
    return y if "bias" not in given else y + given["bias"].flatten()


@register(Embed)
def _embed(operation: Embed, given: Kinds, read: Shape, x: Tensor) -> Tensor:
    return functional.embedding(x, given["weight"].reshape(operation.count, -1))


@register(Table)
def _table(operation: Table, given: Kinds, read: None) -> Tensor:
    return given["weight"].reshape(1, *operation.positions, -1)


@register(Normalize)
def _normalize(operation: Normalize, given: Kinds, read: Shape, x: Tensor) -> Tensor:
    y = normalized(operation.subtract, operation.eps, x)
    y = y * given["gain"].flatten() if "gain" in given else y
    return y + given["shift"].flatten() if "shift" in given else y
