"""What weights are in a Tensor Program: which products each is made of, and rules that ask the writer for them."""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from mupi.architecture.offsets import offsets, patches
from mupi.architecture.operation import Operation
from mupi.architecture.program_values import Columns, Layer, Value
from mupi.architecture.program_writer import Writer, layer, program
from mupi.architecture.rules import Refused
from mupi.architecture.weights import Conv, Dense, Embed, Table


def first_reads(operation: Operation, *values: Tensor) -> tuple[Tensor, Columns, int]:
    """What each output of a weight on data is a product with: rows u, of which W u is the output; and its fan-in.

    The fan-in of an embedding is 1: of the entries of a one-hot vector one counts.
    """
    match operation, values:
        case Table(), ():
            return torch.eye(prod(operation.positions), dtype=torch.float64), Columns(1, operation.positions), 1
        case Embed(), (x,):
            rows = functional.one_hot(x.long(), operation.count).double()
            return rows.flatten(0, -2), Columns(len(x), tuple(x.shape[1:])), 1
        case Dense(), (x,):
            return x.flatten(0, -2), Columns(len(x), tuple(x.shape[1:-1])), x.shape[-1]
        case Conv(), (x,):
            read = patches(operation, x)
            return read.flatten(0, -2), Columns(len(x), tuple(read.shape[1:-1])), read.shape[-1]
    raise AssertionError(operation)


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
    finite = isinstance(operation.out, int)
    if isinstance(x, Tensor):
        if finite:
            raise Refused("a random matrix between finitely many numbers, whose outputs have no limit of their own")
        return write.first(operation, x)
    return write.last(operation, layer(x)) if finite else write.next(operation, layer(x))


@program.register(Embed)
def _embed(operation: Embed, write: Writer, x: Value) -> Value:
    if not isinstance(x, Tensor):
        raise Refused("it reads no integers")
    return write.first(operation, x)


@program.register(Table)
def _table(operation: Table, write: Writer) -> Value:
    return write.first(operation)
