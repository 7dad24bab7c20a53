"""What weights are in the Tensor Program of a forward pass: initial vectors, matrices, and readouts."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from mupi.architecture.operation import Operation
from mupi.architecture.program_values import Columns, Known, Layer, Outputs, Value
from mupi.architecture.program_writer import Writer, layer, program
from mupi.architecture.rules import Refused
from mupi.architecture.weights import Conv, Dense, Embed, Table
from mupi.programs import Vector, mean


def first_reads(operation: Operation, *values: Tensor) -> tuple[Tensor, Columns]:
    """What each output of a weight on data is a product with: rows u, of which W u is the output, over √fan-in."""
    match operation, values:
        case Table(), ():
            return torch.eye(prod(operation.positions), dtype=torch.float64), Columns(1, operation.positions)
        case Embed(), (x,):
            rows = functional.one_hot(x.long(), operation.count).double()
            return rows.flatten(0, -2), Columns(len(x), tuple(x.shape[1:]))
        case Dense(), (x,):
            return x.flatten(0, -2) / x.shape[-1] ** 0.5, Columns(len(x), tuple(x.shape[1:-1]))
        case Conv(), (x,):
            patches = torch.stack([moved for _, moved in offsets(operation, x)], -2)
            fan_in = prod(patches.shape[-2:])
            columns = Columns(len(x), tuple(patches.shape[1:-2]))
            return patches.reshape(-1, fan_in) / fan_in**0.5, columns
    raise AssertionError(operation)


def offsets(operation: Conv, x: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """For each offset o of a kernel, x(stride·p + o − padding) for all p, of (batch, *positions, channels)."""
    axes, mode = len(operation.size), {"zeros": "constant"}.get(operation.mode, operation.mode)
    both = [side for pad in reversed(operation.padding) for side in (pad, pad)]
    x = functional.pad(x.movedim(-1, 1), both, mode=mode).movedim(1, -1)
    for o in product(*map(range, operation.size)):
        moved = x
        for axis in range(axes):
            stride, size = operation.stride[axis], operation.size[axis]
            count = (x.shape[1 + axis] - size) // stride + 1
            moved = moved.index_select(1 + axis, torch.arange(count) * stride + o[axis])
        yield o, moved


def reads(operation: Dense | Conv, x: Layer) -> Iterator[tuple[str, float, Layer]]:
    """The n × n matrices that a weight is made of: a suffix for each, its share of σ, and what it is applied to."""
    if isinstance(operation, Conv):
        share = prod(operation.size) ** -0.5
        codes = 1.0 + torch.arange(x.columns.count).reshape(x.columns.batch, *x.columns.positions, 1).double()
        for o, moved in offsets(operation, codes):
            # Zeros around the image are columns of none.
            numbers = moved.squeeze(-1).long() - 1
            weights = torch.eye(x.columns.count + 1, dtype=torch.float64)[1:, numbers.flatten() + 1]
            suffix = f"[{','.join(map(str, o))}]" if len(x.columns.positions) and prod(operation.size) > 1 else ""
            yield suffix, share, x.mixed(weights, Columns(len(numbers), tuple(numbers.shape[1:])))
    elif x.flat:
        places = x.columns.numbers.flatten(1)
        for place in range(places.shape[1]):
            yield f"[{place}]", places.shape[1] ** -0.5, x.chosen(places[:, place])
    else:
        yield "", 1.0, x


@program.register(Dense)
@program.register(Conv)
def _weigh(operation: Dense | Conv, write: Writer, x: Value) -> Value:
    bias_columns = write.sigma_b if operation.bias else 0.0
    write = replace(write, sigma_b=bias_columns)
    if isinstance(x, Tensor):
        if isinstance(operation.out, int):
            raise Refused("a random matrix between finitely many numbers, whose outputs have no limit of their own")
        return _first(operation, write)
    x = layer(x)
    terms = list(reads(operation, x))
    columns = terms[0][2].columns
    if isinstance(operation.out, int):
        if write.owner in write.initial:
            return _tied_readout(write, x)
        parts = {}
        for suffix, share, read in terms:
            parts[f"{write.owner}{suffix}"] = replace(read, vector=share * write.sigma_w * read.vector)
        ones = torch.full((columns.count,), write.sigma_b, dtype=torch.float64)
        return Outputs(parts, {write.owner: ones} if write.sigma_b else {}, columns)
    if write.owner in write.initial:
        raise Refused("its weight is one that reads data, too")
    total = write.bias(columns.count)
    for suffix, share, read in terms:
        product = write.program.matrix(f"W.{write.owner}{suffix}", share * write.sigma_w) @ read.vector
        total = product if total is None else total + product
    assert total is not None
    return Layer(_named(total, write), columns)


@program.register(Embed)
def _embed(operation: Embed, write: Writer, x: Value) -> Value:
    return _first(operation, write)


@program.register(Table)
def _table(operation: Table, write: Writer) -> Value:
    return _first(operation, write)


def _first(operation: Operation, write: Writer) -> Layer:
    """The outputs of a weight that reads data: columns of the initial vectors of all its uses."""
    start = write.initial[write.owner]
    where, columns = start.uses[write.name]
    whole = where == slice(0, start.vector.columns)
    vector = start.vector if whole else start.vector @ torch.eye(start.vector.columns, dtype=torch.float64)[:, where]
    bias = write.bias(columns.count) if getattr(operation, "bias", False) else None
    vector = vector if bias is None else vector + bias
    return Layer(_named(vector, write), columns)


def _named(vector: Vector, write: Writer) -> Vector:
    """Under the name of the node."""
    return vector if vector.name == f"h.{write.name}" else vector.named(f"h.{write.name}")


def _tied_readout(write: Writer, x: Layer) -> Known:
    """f = (rows of the embedding)ᵀ x/n: these and x depend on each other, so f goes to numbers, not to a Gaussian."""
    if write.sigma_b:
        raise Refused("a random bias on outputs that converge to numbers", "set sigma_b to 0")
    start = write.initial[write.owner]
    if write.name not in start.uses:
        raise Refused("its weight is not one that reads one-hot vectors")
    where, _ = start.uses[write.name]
    rows = start.vector @ torch.eye(start.vector.columns, dtype=torch.float64)[:, where]
    return Known(mean(x.vector, rows).named(f"f.{write.name}"), x.columns)
