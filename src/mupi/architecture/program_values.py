"""Values of a network in its Tensor Program: data as numbers, layers as columns, outputs by their covariances."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.architecture.rules import Refused
from mupi.programs import Scalar, Vector, apply

LARGEST = 1024
"""Columns of a line; constants that mix them are matrices of their square."""


@dataclass(frozen=True)
class Columns:
    """Columns with axes: batch, positions.

    Attributes:
        batch: Size of the batch; 1 of what does not depend on the inputs.
        positions: Sizes of their axes.
    """

    batch: int
    positions: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many, in all."""
        return self.batch * prod(self.positions)

    @property
    def numbers(self) -> Tensor:
        """Those of the columns, (batch, *positions)."""
        return torch.arange(self.count).reshape(self.batch, *self.positions)

    def numbers_in(self, larger: "Columns") -> Tensor:
        """For each column of a larger value, whose last positions these are, the number of its own here."""
        numbers = self.numbers
        numbers = numbers.reshape(len(numbers), *[1] * (len(larger.positions) + 1 - numbers.ndim), *numbers.shape[1:])
        return numbers.expand(larger.batch, *larger.positions)


@dataclass(frozen=True)
class Layer:
    """Coordinates of a layer: one random variable for each input and position.

    Attributes:
        vector: Its columns, row by row of (batch, *positions, *flat).
        columns: Their axes.
        flat: Positions that were flattened: the last axes of ``columns.positions``.
    """

    vector: Vector
    columns: Columns
    flat: tuple[int, ...] = ()

    def mixed(self, weights: Float[Tensor, "old new"], columns: Columns) -> "Layer":
        """Combinations of columns; the vector itself where they are those that there are."""
        check_size(columns)
        same = weights.shape[0] == weights.shape[1] and torch.equal(weights, torch.eye(len(weights)).to(weights))
        return Layer(self.vector if same else self.vector @ weights, columns)

    def chosen(self, numbers: Tensor) -> "Layer":
        """The columns of these numbers, (batch, *positions)."""
        check_size(columns := Columns(len(numbers), tuple(numbers.shape[1:])))
        return self.mixed(selection(self.columns.count, numbers.flatten()), columns)

    def widened(self, columns: Columns) -> "Layer":
        """With the axes of a larger value, whose last positions it has."""
        return self.chosen(self.columns.numbers_in(columns))


@dataclass(frozen=True)
class Outputs:
    """Channels of an output, which are independent copies of Σ_i w_i·x_i + biases, the w_i independent vectors.

    Attributes:
        parts: For each w_i by its name what it reads, σ_i x_i.
        biases: For each bias by its name what it is multiplied by in each column, σ_b included.
        columns: The axes of all.
    """

    parts: dict[str, Layer]
    biases: dict[str, Float[Tensor, " columns"]]
    columns: Columns

    def mixed(self, weights: Float[Tensor, "old new"], columns: Columns) -> "Outputs":
        """Combinations of columns."""
        parts = {name: part.mixed(weights, columns) for name, part in self.parts.items()}
        return Outputs(parts, {name: bias @ weights for name, bias in self.biases.items()}, columns)

    def chosen(self, numbers: Tensor) -> "Outputs":
        """The columns of these numbers, (batch, *positions)."""
        weights = selection(self.columns.count, numbers.flatten())
        return self.mixed(weights, Columns(len(numbers), tuple(numbers.shape[1:])))

    def scaled(self, factor: float) -> "Outputs":
        """A multiple."""
        parts = {name: replace(part, vector=factor * part.vector) for name, part in self.parts.items()}
        return replace(self, parts=parts, biases={name: factor * bias for name, bias in self.biases.items()})

    def plus(self, other: "Outputs") -> "Outputs":
        """The sum; of the same weight's, what it reads is added."""
        columns = together(self.columns, other.columns)
        ones, twos = (v.widened(columns) for v in (self, other))
        parts, biases = dict(ones.parts), dict(ones.biases)
        for name, part in twos.parts.items():
            known = parts.get(name)
            parts[name] = part if known is None else replace(part, vector=known.vector + part.vector)
        for name, bias in twos.biases.items():
            biases[name] = biases[name] + bias if name in biases else bias
        return Outputs(parts, biases, columns)

    def widened(self, columns: Columns) -> "Outputs":
        """See `Layer.widened`."""
        return self.chosen(self.columns.numbers_in(columns))


@dataclass(frozen=True)
class Known:
    """Outputs that converge to numbers: a layer read by the vectors that made it.

    Attributes:
        scalar: (columns, channels).
        columns: The axes of the columns.
    """

    scalar: Scalar
    columns: Columns

    def mixed(self, weights: Float[Tensor, "old new"], columns: Columns) -> "Known":
        """Combinations of columns."""
        mixed = apply(lambda s: weights.T.to(s.dtype) @ s, self.scalar, name="mix")
        return Known(mixed, columns)

    def widened(self, columns: Columns) -> "Known":
        """See `Layer.widened`."""
        if columns == self.columns:
            return self
        weights = selection(self.columns.count, self.columns.numbers_in(columns).flatten())
        return self.mixed(weights, columns)

    def plus(self, other: "Known") -> "Known":
        """The sum."""
        columns = together(self.columns, other.columns)
        return Known(self.widened(columns).scalar + other.widened(columns).scalar, columns)


Value = Tensor | Layer | Outputs | Known
"""Data are tensors (batch, *positions, channels)."""


def selection(count: int, numbers: Tensor) -> Float[Tensor, "count chosen"]:
    """The matrix x ↦ x[:, numbers]."""
    return torch.eye(count, dtype=torch.float64)[:, numbers]


def together(x: Columns, y: Columns) -> Columns:
    """The axes of two values that act on each other."""
    longer, shorter = sorted((x.positions, y.positions), key=len, reverse=True)
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    return Columns(max(x.batch, y.batch), tuple(map(max, longer, padded)))


def check_size(columns: Columns) -> None:
    """Refuse too many columns."""
    if columns.count > LARGEST:
        sizes = " × ".join(map(str, (columns.batch, *columns.positions)))
        raise Refused(
            f"{sizes} = {columns.count} columns, whose constants are matrices of {8e-6 * columns.count**2:.0f} MB each",
            f"give fewer inputs, or smaller ones, for at most {LARGEST}",
        )


def joined(values: Sequence[Layer]) -> Layer:
    """One after the other along the first axis of positions."""
    batch = max(value.columns.batch for value in values)
    values = [value.widened(replace(value.columns, batch=batch)) for value in values]
    rest = values[0].columns.positions[1:]
    columns = Columns(batch, (sum(value.columns.positions[0] for value in values), *rest))
    check_size(columns)
    parts, first = columns.numbers, 0
    total: Vector | None = None
    for value in values:
        where = parts[:, first : first + value.columns.positions[0]].flatten()
        first += value.columns.positions[0]
        placed = value.vector @ selection(columns.count, where).T.contiguous()
        total = placed if total is None else total + placed
    assert total is not None
    return Layer(total, columns)
