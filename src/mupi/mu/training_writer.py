"""Parameters in the program of a network's training: lines, which each step replaces by others."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mupi.architecture.coordinates import Normalize
from mupi.architecture.finite_rules import Place
from mupi.architecture.program_values import Columns, Known, Layer, Value
from mupi.architecture.program_weights import first_reads, reads
from mupi.architecture.program_writer import Writer
from mupi.architecture.rules import Refused
from mupi.architecture.scaling import Scaling
from mupi.architecture.shape import Shape, Size, Width
from mupi.architecture.weights import Conv, Dense, Embed, Table, WeightOperation
from mupi.programs import Matrix, Program, Scalar, Vector, mean
from mupi.programs.line import Line
from mupi.programs.vectors import multiplied


@dataclass(frozen=True)
class Kind:
    """What a parameter is before it is trained.

    Attributes:
        role: What μP calls it.
        start: Writes its first line under a name.
        times: t, where its vectors have t·n coordinates.
        columns: t, where a matrix has t·n columns.
    """

    role: str
    start: Callable[[Program, str], Line]
    times: float = 1.0
    columns: float = 1.0


@dataclass
class Parameters:
    """The parameters of a network as lines of a program.

    Attributes:
        program: Where the lines are.
        kinds: What each is, by its name.
        lines: What each is now.
    """

    program: Program
    kinds: dict[str, Kind] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)

    def find(self, name: str, kind: Kind) -> Any:
        """The line of a parameter, written now if there is none yet."""
        if name not in self.lines:
            self.kinds[name], self.lines[name] = kind, kind.start(self.program, name)
        return self.lines[name]

    def vector(self, name: str, role: str, std: float, columns: int, size: Size | None, mean: float = 0.0) -> Vector:
        """A block of vectors with iid N(mean, std²) entries."""

        def start(program: Program, name: str) -> Vector:
            return program.vector(name, std**2 * torch.eye(columns, dtype=torch.float64), mean)

        return self.find(name, Kind(role, start, multiple(size)))

    def matrix(self, name: str, sigma: float, ratio: float, times: float) -> Matrix:
        """A matrix with iid N(0, σ²/(times·n)) entries, times·n its columns."""
        start = partial(_matrix, sigma=sigma, ratio=ratio)
        return self.find(name, Kind("hidden", start, columns=times))

    def numbers(self, name: str, count: int) -> Scalar:
        """Finitely many numbers, which start at zero."""
        zeros = torch.zeros(count, dtype=torch.float64)
        return self.find(name, Kind("finite", lambda program, name: program.constant(zeros, name)))


@dataclass
class TrainingWriter(Writer):
    """Weights as the lines that training has come to, with the multipliers of μP where n is 1.

    Attributes:
        parameters: Of the network.
        place: Scales and standard deviations of the node's parameters.
        read: The shapes of what the node reads.
        size: Channels of what it makes.
        bias_owner: The node whose bias it has.
    """

    parameters: Parameters
    place: Place
    read: tuple[Shape, ...]
    size: Size | None
    bias_owner: str

    def first(self, operation: WeightOperation, *data: Tensor) -> Layer:
        """U uᵀ of the rows u of data."""
        rows, columns, _ = first_reads(operation, *data)
        if isinstance(operation, Embed | Table):
            scaling = replace(self.place.scaling, std=self.place.embed_std)
        else:
            scaling = self._weighing(operation)
        U = self.parameters.vector(f"{self.owner}.weight", "input", scaling.std, rows.shape[1], self.size)
        return self._biased(operation, scaling, U @ rows.T.contiguous(), columns)

    def next(self, operation: Dense | Conv, x: Layer) -> Layer:
        """Products with n × n matrices."""
        scaling, times = self._weighing(operation), multiple(self.read[0].channels)
        ratio = multiple(self.size) / times
        total, columns = None, x.columns
        for suffix, _, read in reads(operation, x):
            W = self.parameters.matrix(f"{self.owner}.weight{suffix}", scaling.std * times**0.5, ratio, times)
            product, columns = W @ read.vector, read.columns
            total = product if total is None else total + product
        assert total is not None
        return self._biased(operation, scaling, total, columns)

    def last(self, operation: Dense | Conv, x: Layer) -> Value:
        """Σ_α V_α x_α/n: numbers."""
        scaling, times, out = self._weighing(operation), multiple(self.read[0].channels), operation.out
        assert isinstance(out, int)
        total, columns = None, x.columns
        for suffix, _, read in reads(operation, x):
            V = self.parameters.vector(
                f"{self.owner}.weight{suffix}", "readout", scaling.std, out, self.read[0].channels
            )
            product, columns = multiplied(times, mean(read.vector, V)), read.columns
            total = product if total is None else total + product
        f = multiplied(scaling.multiplier, total)
        if operation.bias and scaling.bias_scale:
            if scaling.bias_std:
                raise Refused("a random bias of outputs, which stays random in the limit", "set sigma_b to 0")
            f = f + multiplied(scaling.bias_multiplier, self.parameters.numbers(f"{self.bias_owner}.bias", out))
        return Known(f, columns)

    def gained(self, operation: Normalize, normal: Vector) -> Vector:
        """γ of 1 and β of 0 at the start."""
        if operation.gain:
            normal = normal * self.parameters.vector(f"{self.owner}.weight", "vector", 0.0, 1, self.size, 1.0)
        if operation.shift:
            normal = normal + self.parameters.vector(f"{self.owner}.bias", "vector", 0.0, 1, self.size)
        return normal

    def _weighing(self, operation: WeightOperation) -> Scaling:
        kernel = operation.size if isinstance(operation, Conv) else ()
        return self.place.weighing(self.read[0], kernel, bias=operation.bias)

    def _biased(self, operation: WeightOperation, scaling: Scaling, product: Vector, columns: Columns) -> Layer:
        h = multiplied(scaling.multiplier, product)
        if operation.bias and scaling.bias_scale:
            β = self.parameters.vector(f"{self.bias_owner}.bias", "vector", scaling.bias_std, 1, self.size)
            h = h + multiplied(scaling.bias_multiplier, β)
        return Layer(h, columns)


def _matrix(program: Program, name: str, *, sigma: float, ratio: float) -> Matrix:
    return program.matrix(name, sigma, ratio)


def multiple(size: Size | None) -> float:
    """t of t·n."""
    return float(size.times) if isinstance(size, Width) else 1.0
