"""What each operation is in the Tensor Program of a forward pass: rules from values to lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from mupi.activations import NormalizedPolynomial, Polynomial
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.operation import Operation
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.program_values import (
    Columns,
    Known,
    Layer,
    Outputs,
    Value,
    check_size,
    joined,
    together,
)
from mupi.architecture.rules import Refused, Rules
from mupi.architecture.weights import Conv, Dense, Embed, Table
from mupi.programs import Program, Scalar, Vector, apply, mean

program = Rules("a Tensor Program", "mupi.architecture.program.register")
"""Rules (operation, `Writer`, *values that it reads) ↦ value: see `mupi.architecture.program_values`."""

TINY = 1e-300


@dataclass
class Writer:
    """What a rule writes with, beside the program.

    Attributes:
        program: Where lines are written.
        name: Of the node.
        owner: Of its weights.
        sigma_w: σ_w of the weight.
        sigma_b: σ_b of the bias.
        initial: By owner of weights that read data: their outputs, as columns that all their uses choose from.
        data: What the operation does with data.
    """

    program: Program
    name: str
    owner: str
    sigma_w: float
    sigma_b: float
    initial: dict[str, "Initial"]
    data: Callable[..., Tensor]

    def bias(self, columns: int) -> Vector | None:
        """The bias as a vector, the same in all columns; None if it is zero."""
        if self.sigma_b == 0:
            return None
        name = f"b.{self.owner}"
        lines = {line.name: line for line in self.program.lines}
        line = lines[name] if name in lines else self.program.vector(name, self.sigma_b**2)
        assert isinstance(line, Vector)
        return line @ torch.ones(1, columns, dtype=torch.float64)


@dataclass
class Initial:
    """The outputs of a weight that reads data: jointly Gaussian vectors.

    Attributes:
        vector: The outputs, one column for each input and position.
        uses: For each use, by the node's name, which columns and their axes.
    """

    vector: Vector
    uses: dict[str, tuple[slice, Columns]]


def layer(x: Value) -> Layer:
    """A layer; outputs have no coordinates to act on."""
    if not isinstance(x, Layer):
        raise Refused("it reads outputs, which are numbers and no coordinates of a layer")
    return x


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


@program.register(Activate)
def _activate(operation: Activate, write: Writer, x: Value) -> Value:
    if isinstance(x, Tensor):
        return write.data(x)
    x, φ = layer(x), operation.activation
    if isinstance(φ, NormalizedPolynomial):
        size = _root(mean(x.vector * x.vector))
        normal = apply(_hermite_polynomial(φ), x.vector / size, name=str(φ))
        return replace(x, vector=(normal * size).named(write.name))
    return replace(x, vector=apply(φ, x.vector, name=str(φ)).named(write.name))


def _hermite_polynomial(φ: NormalizedPolynomial) -> Polynomial:
    """Σ_k a_k h_k as a polynomial."""
    degree = len(φ.coefficients)
    rows = [[1.0], [0.0, 1.0]]
    for k in range(2, degree):
        up = [0.0, *rows[-1]]
        down = [*rows[-2], 0.0, 0.0]
        rows.append([u - (k - 1) * d for u, d in zip(up, down, strict=True)])
    total, size = torch.zeros(degree, dtype=torch.float64), 1.0
    for k, (a, row) in enumerate(zip(φ.coefficients, rows, strict=False)):
        size *= max(k, 1)
        total[: len(row)] += a / size**0.5 * torch.tensor(row, dtype=torch.float64)
    return Polynomial(tuple(total.tolist()))


def _root(square: Scalar) -> Scalar:
    """√, of 0 a tiny number."""
    return apply(lambda s: s.clamp_min(TINY).sqrt(), square, name="root")


@program.register(Normalize)
def _normalize(operation: Normalize, write: Writer, x: Value) -> Value:
    x = layer(x)
    vector = x.vector
    if operation.subtract:
        vector = vector - mean(vector)
    size = _root(mean(vector * vector) + operation.eps)
    return replace(x, vector=(vector / size).named(write.name))


@program.register(Add)
def _add(operation: Add, write: Writer, x: Value, y: Value) -> Value:
    if isinstance(x, Outputs) and isinstance(y, Outputs):
        return x.plus(y)
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return write.data(x, y)
    x, y = _same_columns(x, y)
    return replace(x, vector=(x.vector + y.vector).named(write.name))


@program.register(Multiply)
def _multiply(operation: Multiply, write: Writer, x: Value, y: Value) -> Value:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return write.data(x, y)
    x, y = _same_columns(x, y)
    return replace(x, vector=(x.vector * y.vector).named(write.name))


def _same_columns(x: Value, y: Value) -> tuple[Layer, Layer]:
    x, y = layer(x), layer(y)
    columns = together(x.columns, y.columns)
    return x.widened(columns), y.widened(columns)


@program.register(Scale)
def _scale(operation: Scale, write: Writer, x: Value) -> Value:
    if operation.exponent:
        raise Refused("a power of n, which has no limit of its own", "let the parametrization scale the weights")
    match x:
        case Tensor():
            return write.data(x)
        case Outputs():
            return x.scaled(operation.factor)
        case Known():
            return replace(x, scalar=(operation.factor * x.scalar).named(f"f.{write.name}"))
        case _:
            return replace(x, vector=(operation.factor * x.vector).named(write.name))


@program.register(Dropout)
def _dropout(operation: Dropout, write: Writer, x: Value) -> Value:
    return x


@program.register(Center)
def _center(operation: Center, write: Writer, x: Value) -> Value:
    if isinstance(x, Tensor):
        return x - x.mean(tuple(range(x.ndim - 1)))
    x, count = layer(x), layer(x).columns.count
    weights = torch.eye(count, dtype=torch.float64) - 1 / count
    return replace(x, vector=(x.vector @ weights).named(write.name))


@program.register(AveragePool)
@program.register(Reshape)
@program.register(Permute)
@program.register(Select)
def _move(operation: Operation, write: Writer, x: Value) -> Value:
    """Operations between positions are linear in columns: what they do with their numbers says which go where."""
    if isinstance(x, Tensor):
        return write.data(x)
    if isinstance(x, Known):
        raise Refused("it reads outputs that converge to numbers")
    if isinstance(x, Outputs) and isinstance(operation, Reshape | Permute):
        raise Refused("it may mix positions and channels of outputs")
    columns = x.columns
    unit = torch.eye(columns.count, dtype=torch.float64)
    # One channel for each column.
    moved = write.data(unit.reshape(columns.count, columns.batch, *columns.positions).movedim(0, -1))
    new = Columns(columns.batch, tuple(moved.shape[1:-1]))
    out = x.mixed(moved.reshape(-1, columns.count).T.contiguous(), new)
    if isinstance(out, Layer) and isinstance(x, Layer) and out.vector is not x.vector:
        out.vector.named(write.name)
    return out


@program.register(Flatten)
def _flatten(operation: Flatten, write: Writer, x: Value) -> Value:
    x = layer(x)
    return replace(x, flat=x.columns.positions)


@program.register(Join)
def _join(operation: Join, write: Writer, x: Value, y: Value) -> Value:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return write.data(x, y)
    out = joined([layer(x), layer(y)])
    out.vector.named(write.name)
    return out


@program.register(Attention)
def _attention(operation: Attention, write: Writer, query: Value, key: Value, value: Value) -> Value:
    if operation.exponent != -1:
        what = "stay random" if operation.exponent > -1 else "vanish at a rate of their own"
        raise Refused(
            f"logits of d^({operation.exponent:g})·q·k {what}, where averages of n coordinates go to numbers",
            "take exponent −1, as μP does",
        )
    q, k, v = layer(query), layer(key), layer(value)
    batch = max(part.columns.batch for part in (q, k, v))
    q, k, v = (part.widened(replace(part.columns, batch=batch)) for part in (q, k, v))
    check_size(q.columns)
    queries, keys = (part.columns.numbers.flatten() for part in (q, k))
    lengths = q.columns.positions[0], k.columns.positions[0]
    seen = (queries // lengths[0])[:, None] == keys // lengths[1]
    if operation.causal:
        seen &= (queries % lengths[0])[:, None] >= keys % lengths[1]
    outside = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)
    factor = 1.0 if operation.factor is None else operation.factor
    logits = mean(q.vector, k.vector).named(f"logits.{write.name}")
    weights = apply(lambda a: torch.softmax(factor * a + outside, 1).T, logits, name="softmax")
    return Layer((v.vector @ weights).named(write.name), q.columns)
