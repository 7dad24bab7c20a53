"""Parameters in the Tensor Program of a forward pass: initial vectors, matrices, and readouts that are not drawn."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mupi.architecture.program_values import Columns, Known, Layer, Outputs, Value
from mupi.architecture.program_weights import reads
from mupi.architecture.program_writer import Writer
from mupi.architecture.rules import Refused
from mupi.architecture.weights import Conv, Dense, WeightOperation
from mupi.programs import Vector, mean


@dataclass
class Initial:
    """The outputs of a weight that reads data: jointly Gaussian vectors.

    Attributes:
        vector: The outputs, one column for each input and position.
        uses: For each use, by the node's name, which columns and their axes.
    """

    vector: Vector
    uses: dict[str, tuple[slice, Columns]]


@dataclass
class ForwardWriter(Writer):
    """Weights as they are drawn.

    Attributes:
        sigma_w: σ_w of the weight.
        sigma_b: σ_b of the bias.
        initial: By owner of weights that read data: their outputs, as columns that all their uses choose from.
    """

    sigma_w: float = 1.0
    sigma_b: float = 0.0
    initial: dict[str, Initial] = field(default_factory=dict)

    def first(self, operation: WeightOperation, *data: Tensor) -> Layer:
        """The columns of the initial vectors of all its uses."""
        start = self.initial[self.owner]
        where, columns = start.uses[self.name]
        vector = start.vector
        if where != slice(0, vector.columns):
            vector = vector @ torch.eye(vector.columns, dtype=torch.float64)[:, where]
        bias = self._bias(columns.count) if operation.bias else None
        return self._named(vector if bias is None else vector + bias, columns)

    def next(self, operation: Dense | Conv, x: Layer) -> Layer:
        """Products with Gaussian matrices."""
        terms = list(reads(operation, x))
        columns = terms[0][2].columns
        if self.owner in self.initial:
            raise Refused("its weight is one that reads data, too")
        total = self._bias(columns.count) if operation.bias else None
        for suffix, share, read in terms:
            product = self.program.matrix(f"W.{self.owner}{suffix}", share * self.sigma_w) @ read.vector
            total = product if total is None else total + product
        assert total is not None
        return self._named(total, columns)

    def last(self, operation: Dense | Conv, x: Layer) -> Value:
        """By what their covariance is made of: see `Outputs`; of the transpose of an embedding, numbers."""
        sigma_b = self.sigma_b if operation.bias else 0.0
        if self.owner in self.initial:
            return self._tied(x, sigma_b)
        terms = list(reads(operation, x))
        columns = terms[0][2].columns
        parts = {}
        for suffix, share, read in terms:
            parts[f"{self.owner}{suffix}"] = replace(read, vector=share * self.sigma_w * read.vector)
        ones = torch.full((columns.count,), sigma_b, dtype=torch.float64)
        return Outputs(parts, {self.owner: ones} if sigma_b else {}, columns)

    def _bias(self, columns: int) -> Vector | None:
        """The bias as a vector, the same in all columns; None if it is zero."""
        if self.sigma_b == 0:
            return None
        name = f"b.{self.owner}"
        line = self.program.find(name) or self.program.vector(name, self.sigma_b**2)
        assert isinstance(line, Vector)
        return line @ torch.ones(1, columns, dtype=torch.float64)

    def _named(self, vector: Vector, columns: Columns) -> Layer:
        """A layer under the name of the node."""
        name = f"h.{self.name}"
        return Layer(vector if vector.name == name else vector.named(name), columns)

    def _tied(self, x: Layer, sigma_b: float) -> Known:
        """f = (rows of the embedding)ᵀ x/n: x depends on them, so f goes to numbers, not to a Gaussian."""
        if sigma_b:
            raise Refused("a random bias on outputs that converge to numbers", "set sigma_b to 0")
        start = self.initial[self.owner]
        if self.name not in start.uses:
            raise Refused("its weight is not one that reads one-hot vectors")
        where, _ = start.uses[self.name]
        rows = start.vector @ torch.eye(start.vector.columns, dtype=torch.float64)[:, where]
        return Known(mean(x.vector, rows).named(f"f.{self.name}"), x.columns)
