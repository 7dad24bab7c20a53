"""Reverse mode over the lines of a program: the program of ∂loss."""

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial, singledispatch
from typing import Any

import torch
from torch import Tensor

from mupi.activations import Activation
from mupi.checks import fail
from mupi.programs.backward import Backward, BackwardRows
from mupi.programs.line import Line, describe
from mupi.programs.matrices import Matrix, Outer, outer
from mupi.programs.operations import (
    Average,
    Coordinatewise,
    Function,
    Moment,
    Multiple,
    OfScalars,
    Operation,
    PlusEntries,
    PlusOuter,
    Product,
    Sum,
)
from mupi.programs.slopes import slope
from mupi.programs.vectors import Scalar, Vector, apply, mean, multiplied

Cotangent = Any
"""Of a vector n ∂loss/∂v, a `Vector`; of a scalar ∂loss/∂s, a `Scalar`; of a matrix a tuple of `Outer`."""

POINTWISE = {
    torch.tanh, torch.relu, torch.sigmoid, torch.sin, torch.cos, torch.exp, torch.erf, torch.sqrt, torch.square,
    torch.abs, torch.nn.functional.relu, torch.nn.functional.gelu, torch.nn.functional.silu,
    torch.nn.functional.softplus,
}  # fmt: skip
"""Functions of each entry, whose derivative is a factor of what comes back."""

STEPS = {torch.heaviside, torch.sign, torch.floor, torch.ceil, torch.round}
"""Functions that are constant but for jumps: their derivative is 0, as in torch where torch has one."""


def gradients(loss: Scalar, of: Sequence[Line]) -> list[Cotangent]:
    """Write the lines of the gradient of a scalar by lines before it.

    Units are those in which gradients have limits: of a vector n ∂loss/∂v, since each of its n coordinates has a share
    of 1/n in a mean; of scalars ∂loss/∂s; of a matrix ∂loss/∂W = Σ d xᵀ/n, as the outer products to be subtracted from
    it. The lines are a program as any other (NE⊗OR⊤ is closed under them: Yang & Hu 2021, Yang & Littwin 2023), to be
    run, taken to the limit, and differentiated again.

    >>> program = mupi.Program()
    >>> W, x = program.matrix("W"), program.vector("x")
    >>> h = W @ x
    >>> loss = mupi.mean(torch.tanh(h), h)
    >>> (step,), dx = mupi.gradients(loss[0, 0], [W, x])
    >>> moved = W - 0.1 * step
    >>> size = mupi.mean(dx, dx)
    >>> program.limit(samples=256)[size].shape
    torch.Size([1, 1])

    Args:
        loss: A single number.
        of: Vectors, scalars and matrices; what the loss does not depend on has the gradient 0 (of a matrix none).

    Raises:
        ValueError: If the loss is no single number, or a line is of another program.
    """
    if not isinstance(loss, Scalar) or loss.probe.numel() != 1:
        fail("gradients(loss)", "a scalar line of one number", describe(loss), "average or sum it")
    for line in of:
        if not isinstance(line, Line) or line.program is not loss.program:
            fail("gradients(of=...)", f"lines of the program of {loss.name}", describe(line))
    last = loss.index
    needed = set(of)
    between = [line for line in loss.program.lines[: last + 1] if _joins(line, needed)]
    found: dict[Line, Cotangent] = {}
    if loss in needed:
        found[loss] = apply(torch.ones_like, loss, name="ones_like")
    for line in reversed(between):
        coming = found.get(line)
        if coming is None:
            continue
        for argument, part in pull(line.operation, line, coming, needed):
            known = found.get(argument)
            found[argument] = part if known is None else known + part
    return [found.get(line, () if isinstance(line, Matrix) else multiplied(0.0, line)) for line in of]


def _joins(line: Line, needed: set[Line]) -> bool:
    """Whether a line depends on one that is needed; it is then needed, too."""
    if any(x in needed for x in line.inputs):
        needed.add(line)
        return True
    return False


@singledispatch
def pull(operation: Operation, line: Line, coming: Cotangent, needed: set[Line]) -> Iterable[tuple[Line, Cotangent]]:
    """What comes back to each needed argument of a line. Register more for operations of your own."""
    raise NotImplementedError(f"`gradients` has no rule for {type(operation).__name__} ({line})")


@pull.register
def _(operation: Average, line: Line, coming: Scalar, needed: set[Line]) -> Iterable[tuple[Line, Cotangent]]:
    (x,) = line.inputs
    yield x, 0.0 * x + coming


@pull.register
def _(operation: Moment, line: Line, coming: Scalar, needed: set[Line]) -> Iterable[tuple[Line, Cotangent]]:
    x, y = line.inputs[0], line.inputs[-1]
    if x in needed:
        yield x, y @ coming.T
    if y in needed:
        yield y, x @ coming


@pull.register
def _(operation: Product, line: Line, coming: Vector, needed: set[Line]) -> Iterable[tuple[Line, Cotangent]]:
    matrix, x = line.inputs
    # In units of each vector's own number of coordinates, so that ratios of these come in.
    ρ = matrix.ratio
    if x in needed:
        yield x, multiplied(ρ, matrix @ coming) if operation.transposed else multiplied(1 / ρ, matrix.T @ coming)
    if matrix in needed:
        yield matrix, (outer(x, coming) if operation.transposed else outer(multiplied(1 / ρ, coming), x),)


@pull.register
def _(operation: PlusOuter, line: Line, coming: tuple[Outer, ...], needed: set[Line]):
    matrix, d, x = line.inputs
    if matrix in needed:
        yield matrix, coming
    for part in coming:
        if d in needed:
            yield d, multiplied(matrix.ratio, part.d @ mean(part.x, x))
        if x in needed:
            yield x, multiplied(matrix.ratio, part.x @ mean(part.d, d))


@pull.register
def _(operation: PlusEntries, line: Line, coming: tuple[Outer, ...], needed: set[Line]):
    matrix, q, _ = line.arguments
    if q in needed:
        raise NotImplementedError(f"`gradients` does not go through entries ({line})")
    if matrix in needed:
        yield matrix, coming


@pull.register
def _(operation: Sum, line: Line, coming: tuple[Outer, ...], needed: set[Line]):
    for matrix in line.inputs:
        if matrix in needed:
            yield matrix, coming


@pull.register
def _(operation: Multiple, line: Line, coming: tuple[Outer, ...], needed: set[Line]):
    matrix, number = line.arguments
    if matrix in needed:
        yield matrix, tuple(number * part for part in coming)
    if isinstance(number, Scalar) and number in needed:
        shape = tuple(number.probe.shape)
        for part in coming:
            product = multiplied(matrix.ratio, mean(part.d, matrix @ part.x))
            yield number, apply(lambda m, shape=shape: m.diagonal().sum().reshape(shape), product, name="trace")


@pull.register
def _(operation: OfScalars, line: Line, coming: Scalar, needed: set[Line]):
    for place, x in enumerate(line.arguments):
        if isinstance(x, Line) and x in needed:
            yield x, apply(Backward(operation, place), *line.arguments, coming, name=f"∂{_short(operation)}")


@pull.register
def _(operation: Coordinatewise, line: Line, coming: Vector, needed: set[Line]):
    if operation.f in STEPS:
        return
    rule = ARITHMETIC.get(operation.f)
    for place, x in enumerate(line.arguments):
        if not isinstance(x, Line) or x not in needed:
            continue
        pointwise = len(line.arguments) == 1 and (operation.f in POINTWISE or isinstance(operation.f, Activation))
        if rule is not None and not operation.keywords and (part := rule(line, place, coming)) is not None:
            yield x, _like(x, part)
        elif pointwise:
            yield x, apply(slope(operation.f), x, name=f"{_short(operation)}'") * coming
        elif isinstance(x, Vector):
            yield x, apply(Backward(operation, place), *line.arguments, coming, name=f"∂{_short(operation)}")
        else:
            kinds = tuple(isinstance(a, Vector) for a in line.arguments)
            rows = apply(BackwardRows(operation, place, kinds), *line.arguments, coming, name=f"∂{_short(operation)}")
            yield x, _shaped(mean(rows), tuple(x.probe.shape))


def _plus(line: Line, place: int, coming: Vector) -> Vector:
    return coming


def _minus(line: Line, place: int, coming: Vector) -> Vector:
    return coming if place == 0 else -coming


def _times(line: Line, place: int, coming: Vector) -> Vector:
    return coming * line.arguments[1 - place]


def _over(line: Line, place: int, coming: Vector) -> Vector:
    x, y = line.arguments
    return coming / y if place == 0 else -(coming * x / (y * y))


def _power(line: Line, place: int, coming: Vector) -> Vector | None:
    x, power = line.arguments
    if not isinstance(power, int) or power < 1:
        return None
    return coming if power == 1 else coming * (float(power) * x ** (power - 1))


def _combined(line: Line, place: int, coming: Vector) -> Vector | Scalar:
    x, weights = line.arguments
    if place == 0:
        return coming @ weights.T
    shape = tuple(weights.probe.shape)
    return apply(lambda m, shape=shape: m.reshape(shape), mean(x, coming), name="reshape")


ARITHMETIC: dict[Callable[..., Any], Callable[[Line, int, Vector], Any]] = {
    operator.add: _plus,
    operator.sub: _minus,
    operator.neg: lambda line, place, coming: -coming,
    operator.mul: _times,
    operator.truediv: _over,
    operator.pow: _power,
    operator.matmul: _combined,
}
"""Rules (line, which argument, what comes back) that keep sums and products what they are, for closed forms."""


def _like(x: Line, part: Vector | Scalar) -> Vector | Scalar:
    """What comes back to an argument that was broadcast over columns, or is a scalar among vectors."""
    if isinstance(part, Scalar):
        return part
    if isinstance(x, Scalar):
        return _shaped(mean(part), tuple(x.probe.shape))
    assert isinstance(x, Vector)
    if x.columns == part.columns:
        return part
    return part @ torch.ones(part.columns, 1, dtype=torch.float64)


def _shaped(average: Scalar, shape: tuple[int, ...]) -> Scalar:
    """Summed over what was broadcast."""
    if tuple(average.probe.shape) == shape:
        return average
    return apply(partial(_sum_to, shape=shape), average, name="sum")


def _sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.reshape(shape) if x.numel() == torch.Size(shape).numel() else x.sum_to_size(shape)


def _short(function: Function) -> str:
    """What a function is called."""
    return function.template.split("(")[0] or getattr(function.f, "__name__", "f")
