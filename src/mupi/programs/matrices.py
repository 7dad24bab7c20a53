"""Gaussian matrices, their transposes, and the outer products that training adds to them."""

from dataclasses import dataclass

from mupi.checks import fail
from mupi.programs import probe
from mupi.programs.line import Line, describe, name_of, program_of
from mupi.programs.vectors import MatrixLike, Scalar, Vector, record


class Matrix(Line, MatrixLike):
    """An n × n matrix: Gaussian, or one that differs from it by a factor and by outer products."""

    letter = "W"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Refuse ``torch.tanh(W)`` as a line."""
        return record(func, list(args))

    @property
    def gaussian(self) -> "Matrix":
        """The matrix that it came from."""
        matrices = [line for line in self.inputs if isinstance(line, Matrix)]
        return matrices[0].gaussian if matrices else self

    @property
    def sigma(self) -> float:
        """σ of the Gaussian matrix."""
        return self.gaussian.probe

    @property
    def T(self) -> "Transposed":
        """The transpose."""
        return Transposed(self)

    def __matmul__(self, x: Vector) -> Vector:
        return _product(self, x, transposed=False)

    def __add__(self, other: "Matrix | Outer") -> "Matrix":
        if isinstance(other, Outer):
            inputs = (self, other.d, other.x)
            formula = f"{self.name} + outer({other.d.name}, {other.x.name})"
            program = program_of(formula, inputs)
            return program.write(Matrix, formula, inputs, lambda space, w, d, x: space.add_outer(w, d, x))
        formula = f"{self.name} + {name_of(other)}"
        if not isinstance(other, Matrix) or other.gaussian is not self.gaussian:
            fail(self.program.next_line(formula), "a sum of changes of one matrix", formula, "write W @ x + W2 @ x")
        return self.program.write(Matrix, formula, (self, other), lambda space, w, v: w + v)

    def __sub__(self, other: "Matrix | Outer") -> "Matrix":
        return self + -1.0 * other

    def __mul__(self, number: "float | Scalar") -> "Matrix":
        """A multiple."""
        formula = f"{name_of(number)} * {self.name}"
        program = program_of(formula, [self, number])
        if isinstance(number, Scalar) and number.probe.numel() == 1:
            return program.write(Matrix, formula, (self, number), lambda space, w, c: w * c.reshape(()))
        if not isinstance(number, int | float):
            fail(program.next_line(formula), "a number times a matrix", f"{describe(number)} * {describe(self)}")
        return program.write(Matrix, formula, (self,), lambda space, w: w * number)

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


@dataclass(frozen=True)
class Outer(MatrixLike):
    """d xᵀ/n, to be added to a matrix."""

    d: Vector
    x: Vector

    def __rmul__(self, number: "float | Scalar") -> "Outer":
        return Outer(number * self.d, self.x)


def outer(d: Vector, x: Vector) -> Outer:
    """The matrix Σ_i d_i x_iᵀ/n over the columns, to be added to another: what SGD changes a weight by.

    A step with learning rate η is ``W - η * outer(δ, z)``.

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
    formula = f"{matrix.name}{'.T' if transposed else ''} @ {name_of(x)}"
    program = program_of(formula, [matrix, x])
    if not isinstance(x, Vector):
        fail(program.next_line(formula), "a matrix times a vector", f"{name_of(matrix)} @ {describe(x)}")
    trial = probe.image(x.probe, max(matrix.sigma, 1e-3), len(program.lines))
    return program.write(Vector, formula, (matrix, x), lambda space, w, v: (w.T if transposed else w) @ v, trial)
