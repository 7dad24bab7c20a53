"""The lines of a program: vectors, matrices and scalars, and the operations that write them."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail, non_negative
from mupi.programs import probe

SYMBOLS = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.matmul: "{} @ {}",
    operator.pow: "{} ** {}",
    operator.neg: "-{}",
}
"""How arithmetic is written."""


@dataclass(eq=False)
class Line:
    """One line of a program.

    Attributes:
        program: Whose.
        index: Its place.
        formula: Its right-hand side.
        inputs: The lines that it needs.
        compute: Its value in a space from those of its inputs.
        probe: Its value on a few numbers; see `mupi.programs.probe`.
        name: Its left-hand side.
    """

    program: "Listing"
    index: int
    formula: str
    inputs: tuple["Line", ...]
    compute: Callable[..., Any]
    probe: Any = field(repr=False)
    name: str = ""

    def named(self, name: str):
        """Give the line a name, and return it.

        Raises:
            ValueError: If another line has it.
        """
        for line in self.program.lines:
            if line.name == name and line is not self:
                fail(f"named({name!r})", "a name of its own", f"that of {line}", "choose another")
        self.name = name
        return self

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Make ``torch.tanh(x)`` a line."""
        kwargs = kwargs or {}
        if kwargs:
            given = list(args)
            return _record(lambda *xs: func(*xs, **kwargs), given, getattr(func, "__name__", "f"))
        return _record(func, list(args))

    def __str__(self) -> str:
        return f"line {self.index + 1}: {self.name} = {self.formula}"


class Expression(Line):
    """A vector or a scalar: what arithmetic and torch functions can be applied to."""

    def __add__(self, other: Any) -> Any:
        return _record(operator.add, [self, other])

    def __radd__(self, other: Any) -> Any:
        return _record(operator.add, [other, self])

    def __sub__(self, other: Any) -> Any:
        return _record(operator.sub, [self, other])

    def __rsub__(self, other: Any) -> Any:
        return _record(operator.sub, [other, self])

    def __mul__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, Outer) else _record(operator.mul, [self, other])

    def __rmul__(self, other: Any) -> Any:
        return _record(operator.mul, [other, self])

    def __truediv__(self, other: Any) -> Any:
        return _record(operator.truediv, [self, other])

    def __rtruediv__(self, other: Any) -> Any:
        return _record(operator.truediv, [other, self])

    def __pow__(self, power: int) -> Any:
        return _record(operator.pow, [self, power])

    def __neg__(self) -> Any:
        return _record(operator.neg, [self])

    def __matmul__(self, other: Any) -> Any:
        return _record(operator.matmul, [self, other])

    def abs(self) -> Any:
        """|x|."""
        return _record(torch.abs, [self])


class Vector(Expression):
    """k vectors of R^n, an (n, k) block: in the limit k random variables Z.

    Arithmetic and torch functions act on coordinates; columns broadcast. ``x @ θ`` with a (k, m) scalar or tensor
    combines columns, and ``x[i]`` is the i-th.
    """

    @property
    def columns(self) -> int:
        """k."""
        return self.probe.shape[1]

    def __getitem__(self, column: int) -> "Vector":
        choice = torch.eye(self.columns, dtype=torch.float64)[:, [column]]
        return _record(operator.matmul, [self, choice], f"{self.name}[{column}]")

    def __iter__(self):
        return (self[i] for i in range(self.columns))


class Scalar(Expression):
    """Numbers that converge: averages over coordinates, and torch functions of them, of any shape."""

    @property
    def T(self) -> "Scalar":
        """The transpose."""
        return _record(torch.t, [self])


class Matrix(Line):
    """An n × n matrix: Gaussian, or one that differs from it by a factor and by outer products."""

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
            return self.program.write(Matrix, formula, inputs, lambda space, w, d, x: space.add_outer(w, d, x))
        formula = f"{self.name} + {other.name}"
        if not isinstance(other, Matrix) or other.gaussian is not self.gaussian:
            fail(self.program.next_line(formula), "a sum of changes of one matrix", formula, "write W @ x + W2 @ x")
        return self.program.write(Matrix, formula, (self, other), lambda space, w, v: w + v)

    def __sub__(self, other: "Matrix | Outer") -> "Matrix":
        return self + -1.0 * other

    def __mul__(self, number: "float | Scalar") -> "Matrix":
        """A multiple."""
        if isinstance(number, Scalar):
            formula = f"{number.name} * {self.name}"
            return self.program.write(Matrix, formula, (self, number), lambda space, w, c: w * c)
        return self.program.write(Matrix, f"{number:g} * {self.name}", (self,), lambda space, w: w * number)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Transposed:
    """Wᵀ."""

    matrix: Matrix

    def __matmul__(self, x: Vector) -> Vector:
        return _product(self.matrix, x, transposed=True)


@dataclass(frozen=True)
class Outer:
    """d xᵀ/n, to be added to a matrix."""

    d: Vector
    x: Vector

    def __rmul__(self, number: "float | Scalar") -> "Outer":
        return Outer(number * self.d, self.x)


def outer(d: Vector, x: Vector) -> Outer:
    """The matrix Σ_i d_i x_iᵀ/n over the columns, to be added to another: what SGD changes a weight by.

    A step with learning rate η is ``W - η * outer(δ, z)``.

    Raises:
        ValueError: If the two are no vectors of as many columns.
    """
    if not (isinstance(d, Vector) and isinstance(x, Vector) and d.columns == x.columns):
        fail("outer(d, x)", "given two vectors of as many columns", f"{_describe(d)} and {_describe(x)}")
    return Outer(d, x)


def mean(x: Vector, y: Vector | None = None) -> Scalar:
    """The averages Σ_α x_α/n of shape (k,), or the moments xᵀy/n of shape (k, m); in the limit E Z^x, E Z^x Z^y.

    Raises:
        ValueError: If the arguments are no vectors of one program, or their product has no finite mean.
    """
    given = (x,) if y is None else (x, y)
    formula = f"mean({', '.join(_name(v) for v in given)})"
    program = _program(formula, list(given))
    for v in given:
        if not isinstance(v, Vector):
            fail(program.next_line(formula), "of vectors", _describe(v))
    if y is None:
        return program.write(Scalar, formula, given, lambda space, v: space.mean(v), probe.average(x.probe))
    products = x.probe[:, :, None] * y.probe[:, None]
    return program.write(
        Scalar, formula, given, lambda space, v, *w: space.moment(v, *(w or (v,))), probe.average(products)
    )


def apply(f: Callable[..., Tensor], *args: Any, name: str = "") -> Any:
    """f of vectors and scalars: of each coordinate of the vectors, or, without vectors, of the scalars.

    Args:
        f: Made of torch operations. It gets vectors as (rows, k), any number of rows, and returns as many.
        args: Vectors, scalars and constants, in f's order.
        name: What f is called in the line.

    Raises:
        ValueError: If f mixes coordinates, does not fit its arguments, is not finite, or grows too fast.
    """
    return _record(f, list(args), name and f"{name}({', '.join(_name(x) for x in args)})")


class Listing:
    """The lines of a program, as they are written: every operation on its vectors, matrices and scalars adds one."""

    def __init__(self):
        self.lines: list[Line] = []

    def vector(
        self, name: str = "", covariance: float | Sequence | Tensor = 1.0, mean: float | Sequence | Tensor = 0.0
    ) -> Vector:
        """k initial vectors: their coordinates are iid N(mean, covariance) in R^k.

        Args:
            name: Of the line.
            covariance: A number for one vector, or a (k, k) positive semi-definite matrix.
            mean: A number, or one for each.

        Raises:
            ValueError: If the covariance is no such matrix, or the name is taken.
        """
        Σ = torch.atleast_2d(torch.as_tensor(covariance, dtype=torch.float64))
        if Σ.ndim != 2 or Σ.shape[0] != Σ.shape[1] or not torch.isfinite(Σ).all() or not torch.allclose(Σ, Σ.T):
            got = f"{covariance}" if Σ.numel() == 1 else f"a matrix of shape {tuple(Σ.shape)} that is not"
            fail("vector(covariance=...)", "a finite number ≥ 0, or a finite symmetric matrix", got)
        values, vectors = torch.linalg.eigh(Σ)
        if values[0] < -1e-10 * values.abs().max():
            fail("vector(covariance=...)", "positive semi-definite", f"an eigenvalue {float(values[0]):.3g}")
        kept = values > 1e-14 * values.abs().max()
        factor = vectors[:, kept] * values[kept].sqrt()
        μ = torch.as_tensor(mean, dtype=torch.float64).expand(len(Σ))
        trial = probe.draws(factor.shape[1], len(self.lines)) @ factor.T + μ
        return self.write(Vector, "initial vector", (), lambda space: space.gaussian(factor, μ), trial, name)

    def matrix(self, name: str = "", sigma: float = 1.0) -> Matrix:
        """W with iid N(0, σ²/n) entries; of a name that is taken, the matrix that has it.

        Raises:
            ValueError: If σ is negative, or not that of the matrix of this name.
        """
        non_negative("matrix(sigma=...)", sigma)
        for line in self.lines:
            if name and line.name == name:
                if not isinstance(line, Matrix) or line.sigma != sigma:
                    fail(f"matrix({name!r}, sigma={sigma})", f"the same as in {line}", f"σ = {sigma}", "rename it")
                return line
        formula = f"matrix of N(0, {sigma:g}²/n)"
        return self.write(Matrix, formula, (), lambda space: space.matrix(sigma), sigma, name)

    def write(
        self,
        kind: type,
        formula: str,
        inputs: tuple[Line, ...],
        compute: Callable[..., Any],
        trial: Any = None,
        name: str = "",
    ) -> Any:
        """Append a line; ``trial`` is its probe."""
        line = kind(self, len(self.lines), formula, inputs, compute, trial)
        letter = {Vector: "v", Scalar: "s", Matrix: "W"}[kind]
        line.name = f"{letter}{line.index + 1}"
        if name:
            line.named(name)
        self.lines.append(line)
        return line

    def next_line(self, formula: str) -> str:
        """What the line to be written is called in errors."""
        return f"line {len(self.lines) + 1}: {formula}"


def _record(f: Callable[..., Any], args: list, formula: str = "") -> Any:
    """A line that applies a function to lines and constants."""
    args = [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in args]
    formula = formula or _formula(f, args)
    program = _program(formula, args)
    at = program.next_line(formula)
    if any(isinstance(x, Matrix | Transposed | Outer) for x in args):
        fail(at, "of vectors and scalars", ", ".join(map(_describe, args)), "matrices have W @ x, W.T @ y, c * W")
    is_vector = [isinstance(x, Vector) for x in args]
    if f is operator.matmul and any(is_vector) and is_vector != [True, False]:
        fail(at, "a vector times scalars", " @ ".join(map(_describe, args)), "use mean(x, y) for moments")
    values = [x.probe if isinstance(x, Line) else x for x in args]
    try:
        trial = f(*values)
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        fail(at, "of arguments that fit", ", ".join(map(_describe, args)), " ".join(str(error).split()).split(". ")[0])
    lines = tuple(x for x in args if isinstance(x, Line))
    constants = [None if isinstance(x, Line) else x for x in args]
    places = [i for i, x in enumerate(args) if isinstance(x, Line)]

    def arguments(space: Any, values: Sequence) -> list:
        given = [x.to(space.dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in constants]
        for i, value in zip(places, values, strict=True):
            given[i] = value
        return given

    if not any(is_vector):
        trial = probe.plausible(trial)
        return program.write(Scalar, formula, lines, lambda space, *v: f(*arguments(space, v)), trial)
    if not isinstance(trial, Tensor) or trial.ndim != 2:
        fail(at, "a block of vectors, (rows, k)", tuple(getattr(trial, "shape", ())))
    probe.check_coordinatewise(at, f, values, is_vector, trial)
    probe.check_growth(at, trial)
    return program.write(Vector, formula, lines, lambda space, *v: space.apply(f, arguments(space, v)), trial)


def _product(matrix: Matrix, x: Vector, transposed: bool) -> Vector:
    """The line W @ x or W.T @ x."""
    formula = f"{matrix.name}{'.T' if transposed else ''} @ {_name(x)}"
    program = _program(formula, [matrix, x])
    if not isinstance(x, Vector):
        fail(program.next_line(formula), "a matrix times a vector", f"{_name(matrix)} @ {_describe(x)}")
    trial = probe.image(x.probe, max(matrix.sigma, 1e-3), len(program.lines))
    return program.write(Vector, formula, (matrix, x), lambda space, w, v: (w.T if transposed else w) @ v, trial)


def _program(formula: str, args: list) -> Listing:
    """The one program that all arguments belong to."""
    programs = {id(x.program): x.program for x in args if isinstance(x, Line)}
    if not programs:
        fail(formula, "of vectors, matrices and scalars of a program", ", ".join(map(_describe, args)))
    if len(programs) > 1:
        fail(formula, "of lines of one program", "lines of two, whose widths may differ", "write all in one Program")
    return next(iter(programs.values()))


def _formula(f: Callable[..., Any], args: list) -> str:
    """How an operation is written."""
    names = [_name(x) for x in args]
    return SYMBOLS[f].format(*names) if f in SYMBOLS else f"{getattr(f, '__name__', 'f')}({', '.join(names)})"


def _name(x: object) -> str:
    """An argument in a formula."""
    if isinstance(x, Line):
        return x.name
    if isinstance(x, Tensor):
        return f"{x.item():g}" if x.numel() == 1 else f"<{'×'.join(map(str, x.shape))}>"
    return f"{x:g}" if isinstance(x, float) else str(x)


def _describe(x: object) -> str:
    """An argument in an error."""
    match x:
        case Vector():
            return f"{x.name} ({x.columns} vector{'s' if x.columns > 1 else ''})"
        case Scalar():
            return f"{x.name} (scalars of shape {tuple(x.probe.shape)})"
        case Matrix():
            return f"{x.name} (a matrix)"
        case Tensor():
            return f"constants of shape {tuple(x.shape)}"
        case _:
            return repr(x)
