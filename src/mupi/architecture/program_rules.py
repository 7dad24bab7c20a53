"""What operations without weights are in the Tensor Program of a forward pass: rules from values to lines."""

from dataclasses import replace

import torch
from torch import Tensor

from mupi.activations import NormalizedPolynomial, Polynomial
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.operation import Operation
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.program_values import Columns, Known, Layer, Outputs, Value, check_size, joined, together
from mupi.architecture.program_writer import Writer, layer, program
from mupi.architecture.rules import Refused
from mupi.programs import Scalar, apply, mean

TINY = 1e-300


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
    return replace(x, vector=write.gained(operation, vector / size).named(write.name))


@program.register(Add)
def _add(operation: Add, write: Writer, x: Value, y: Value) -> Value:
    if (isinstance(x, Outputs) and isinstance(y, Outputs)) or (isinstance(x, Known) and isinstance(y, Known)):
        return x.plus(y)  # pyright: ignore[reportArgumentType]
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
    if isinstance(x, Outputs | Known) and isinstance(operation, Reshape | Permute):
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
