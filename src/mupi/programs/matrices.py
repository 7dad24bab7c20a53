"""Gaussian matrices, their transposes, and the outer products that training adds to them."""

from dataclasses import dataclass

from mupi.checks import fail
from mupi.programs import probe
from mupi.programs.entries import OverN
from mupi.programs.line import Line, describe, name_of, program_of
from mupi.programs.operations import GaussianMatrix, Multiple, PlusEntries, PlusOuter, Product, Sum
from mupi.programs.vectors import MatrixLike, Scalar, Vector, record


class Matrix(Line, MatrixLike):
    """An n × n matrix: Gaussian, or one that differs from it by a factor and by outer products."""

    letter = "W"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Refuse ``torch.tanh(W)`` as a line."""
        return record(func, list(args))

    def __post_init__(self):
        super().__post_init__()
        first = self.inputs[0] if self.inputs else self
        self.gaussian: Matrix = self if first is self else first.gaussian  # pyright: ignore[reportAttributeAccessIssue]
        """The matrix that it came from."""

    @property
    def sigma(self) -> float:
        """σ of the Gaussian matrix."""
        return self.probe

    @property
    def ratio(self) -> float:
        """Rows over columns."""
        operation = self.gaussian.operation
        assert isinstance(operation, GaussianMatrix)
        return operation.ratio

    @property
    def T(self) -> "Transposed":
        """The transpose."""
        return Transposed(self)

    def __matmul__(self, x: Vector) -> Vector:
        return _product(self, x, transposed=False)

    def __add__(self, other: "Matrix | Outer | OverN") -> "Matrix":
        if isinstance(other, OverN):
            inputs = (self, other.entries, other.number)
            program = program_of(PlusEntries().formula(*map(name_of, inputs)), inputs)
            return program.write(Matrix, PlusEntries(), inputs, self.probe)
        if isinstance(other, Outer):
            inputs = (self, other.d, other.x)
            program = program_of(PlusOuter().formula(*(x.name for x in inputs)), inputs)
            return program.write(Matrix, PlusOuter(), inputs, self.probe)
        formula = Sum().formula(self.name, name_of(other))
        if not isinstance(other, Matrix) or other.gaussian is not self.gaussian:
            fail(self.program.next_line(formula), "a sum of changes of one matrix", formula, "write W @ x + W2 @ x")
        return self.program.write(Matrix, Sum(), (self, other), self.probe)

    def __sub__(self, other: "Matrix | Outer | OverN") -> "Matrix":
        return self + -1.0 * other

    def __mul__(self, number: "float | Scalar") -> "Matrix":
        """A multiple."""
        formula = Multiple().formula(self.name, name_of(number))
        program = program_of(formula, [self, number])
        if not isinstance(number, int | float) and not (isinstance(number, Scalar) and number.probe.numel() == 1):
            fail(program.next_line(formula), "a number times a matrix", f"{describe(number)} * {describe(self)}")
        return program.write(Matrix, Multiple(), (self, number), self.probe)

    __rmul__ = __mul__

    def described(self) -> str:
        """See `Line`."""
        return f"{self.name} (a matrix)"


@dataclass(frozen=True)
class Transposed(MatrixLike):
    """Wᵀ."""

    matrix: Matrix

    def __matmul__(self, x: Vector) -> Vector:
        return _product(self.matrix, x, transposed=True)

    def __mul__(self, number: "float | Scalar") -> "Transposed":
        """A multiple."""
        return (self.matrix * number).T

    __rmul__ = __mul__

    def __add__(self, other: object) -> "Transposed":
        """Refused.

        Raises:
            ValueError: Always.
        """
        formula = f"{self.matrix.name}.T + {name_of(other)}"
        fail(
            self.matrix.program.next_line(formula),
            "a sum of matrices as they are",
            formula,
            "write (W + outer(x, y)).T",
        )

    __sub__ = __add__


@dataclass(frozen=True)
class Outer(MatrixLike):
    """d xᵀ/n, to be added to a matrix."""

    d: Vector
    x: Vector

    def __str__(self) -> str:
        return f"outer({self.d.name}, {self.x.name})"

    def __rmul__(self, number: "float | Scalar") -> "Outer":
        return Outer(number * self.d, self.x)


def outer(d: Vector, x: Vector) -> Outer:
    """The matrix Σ_i d_i x_iᵀ/n over the columns, to be added to another: what SGD changes a weight by.

    n is the number of coordinates of x. A step with learning rate η is ``W - η * outer(δ, z)``.

    >>> program = mupi.Program()
    >>> W, x = program.matrix("W"), program.vector("x")
    >>> moved = W + mupi.outer(x, x)  # W + x xᵀ/n
    >>> y = moved @ x
    >>> overlap = mupi.mean(x, y)
    >>> round(float(program.limit(samples=None)[overlap]), 4)
    1.0

    Raises:
        ValueError: If the two are no vectors of as many columns.
    """
    if not (isinstance(d, Vector) and isinstance(x, Vector) and d.columns == x.columns):
        fail("outer(d, x)", "given two vectors of as many columns", f"{describe(d)} and {describe(x)}")
    return Outer(d, x)


def _product(matrix: Matrix, x: Vector, transposed: bool) -> Vector:
    """The line W @ x or W.T @ x."""
    operation = Product(transposed)
    formula = operation.formula(matrix.name, name_of(x))
    program = program_of(formula, [matrix, x])
    if not isinstance(x, Vector):
        fail(program.next_line(formula), "a matrix times a vector", f"{name_of(matrix)} @ {describe(x)}")
    size = matrix.sigma * (matrix.ratio**0.5 if transposed else 1)
    trial = probe.image(x.probe, max(size, 1e-3), len(program.lines))
    return program.write(Vector, operation, (matrix, x), trial)
