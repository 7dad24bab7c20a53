"""Vectors and scalars: arithmetic, functions of coordinates, and averages, each of which writes a line."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mupi.checks import fail
from mupi.programs import probe
from mupi.programs.line import CapturedError, Line, check_not_tried, describe, name_of, program_of, tried
from mupi.programs.notebook import latex
from mupi.programs.operations import Average, Coordinatewise, Function, Moment, OfScalars, called
from mupi.torch_internals import version

ARITHMETIC = {"multiply": "mul", "subtract": "sub", "divide": "truediv", "power": "pow", "negative": "neg"}
"""Functions of NumPy by Python's names, where these are others."""


class MatrixLike:
    """What stands for an n × n matrix: it multiplies vectors, and no function of its coordinates is taken."""


class Expression(Line):
    """A vector or a scalar: what arithmetic and torch functions can be applied to."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Make ``torch.tanh(x)`` a line."""
        # Named arguments behind the others: they may be lines, too.
        kwargs = kwargs or {}
        return record(func, [*args, *kwargs.values()], keywords=tuple(kwargs))

    def __add__(self, other: Any) -> Any:
        return record(operator.add, [self, other])

    def __radd__(self, other: Any) -> Any:
        return record(operator.add, [other, self])

    def __sub__(self, other: Any) -> Any:
        return record(operator.sub, [self, other])

    def __rsub__(self, other: Any) -> Any:
        return record(operator.sub, [other, self])

    def __mul__(self, other: Any) -> Any:
        # A multiple of a matrix is a matter of matrices.
        return NotImplemented if isinstance(other, MatrixLike) else record(operator.mul, [self, other])

    def __rmul__(self, other: Any) -> Any:
        return record(operator.mul, [other, self])

    def __truediv__(self, other: Any) -> Any:
        return record(operator.truediv, [self, other])

    def __rtruediv__(self, other: Any) -> Any:
        return record(operator.truediv, [other, self])

    def __pow__(self, power: int | float) -> Any:
        return record(operator.pow, [self, power])

    def __neg__(self) -> Any:
        return record(operator.neg, [self])

    def __matmul__(self, other: Any) -> Any:
        return record(operator.matmul, [self, other])

    def __rpow__(self, base: int | float) -> Any:
        return record(operator.pow, [base, self])

    def abs(self) -> Any:
        """|x|."""
        return record(torch.abs, [self])

    def __abs__(self) -> Any:
        return self.abs()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Arithmetic with arrays; other functions of NumPy do not know lines."""
        name: str = ufunc.__name__
        f = getattr(operator, ARITHMETIC.get(name, name), None)
        if f is None or method != "__call__" or kwargs:
            formula = f"numpy.{ufunc.__name__}({', '.join(map(name_of, inputs))})"
            fail(formula, "a torch function of lines", "NumPy's", f"write torch.{ufunc.__name__}, or apply(f, x)")
        return record(f, list(inputs))

    def _repr_latex_(self) -> str:
        """The line, in a notebook."""
        return f"${latex(self)}$"

    def __getattr__(self, attribute: str) -> Any:
        """Refuse methods of tensors.

        Raises:
            AttributeError: Always.
        """
        hint = f"; write torch.{attribute}(…), or apply(f, …)" if hasattr(Tensor, attribute) else ""
        raise AttributeError(f"a {type(self).__name__.lower()} of a program has no `{attribute}`{hint}")

    def _is_no_number(self, formula: str) -> Any:
        hint = "compare inside a function: apply(lambda x: torch.where(x > 0, x, 0.0), x)"
        fail(self.program.next_line(formula), "of numbers", self.described(), hint)

    def __lt__(self, other: Any) -> Any:
        self._is_no_number(f"{self.name} < {name_of(other)}")

    def __le__(self, other: Any) -> Any:
        self._is_no_number(f"{self.name} <= {name_of(other)}")

    def __gt__(self, other: Any) -> Any:
        self._is_no_number(f"{self.name} > {name_of(other)}")

    def __ge__(self, other: Any) -> Any:
        self._is_no_number(f"{self.name} >= {name_of(other)}")

    def __float__(self) -> float:
        hint = "take torch's functions of lines, and program.limit()[line] for numbers"
        return fail(f"float({self.name})", "of a number", self.described(), hint)

    def __setitem__(self, place: Any, value: Any) -> None:
        hint = "write a new line: apply(f, x), or x @ a matrix that combines columns"
        fail(
            self.program.next_line(f"{self.name}[{place}] = …"), "no assignment", "one: lines stay what they are", hint
        )


class Vector(Expression):
    """k vectors of R^n, an (n, k) block: in the limit k random variables Z.

    Arithmetic and torch functions act on coordinates; columns broadcast. ``x @ θ`` with a (k, m) scalar or tensor
    combines columns, and ``x[i]`` is the i-th.
    """

    letter = "v"

    @property
    def columns(self) -> int:
        """k."""
        return self.probe.shape[1]

    def __getitem__(self, column: int) -> "Vector":
        if not isinstance(column, int) or not -self.columns <= column < self.columns:
            must = f"the number of one of {self.columns} column{'s' if self.columns > 1 else ''}"
            fail(self.program.next_line(f"{self.name}[{column}]"), must, column, "combine columns by x @ a matrix")
        choice = torch.eye(self.columns, dtype=torch.float64)[:, [column]]
        return record(operator.matmul, [self, choice], template=f"{{}}[{column}]")

    def __iter__(self):
        return (self[i] for i in range(self.columns))

    def described(self) -> str:
        """See `Line`."""
        return f"{self.name} ({self.columns} vector{'s' if self.columns > 1 else ''})"


class Scalar(Expression):
    """Numbers that converge: averages over coordinates, and torch functions of them, of any shape."""

    letter = "s"

    def __getitem__(self, index: int | slice | tuple) -> "Scalar":
        """Some of the numbers."""
        shown = ", ".join(map(str, index if isinstance(index, tuple) else (index,)))
        return record(operator.getitem, [self, index], template=f"{{}}[{shown}]")

    def __iter__(self):
        return (self[i] for i in range(len(self.probe)))

    @property
    def T(self) -> "Scalar":
        """The transpose."""
        return record(torch.t, [self])

    def described(self) -> str:
        """See `Line`."""
        return f"{self.name} (scalars of shape {tuple(self.probe.shape)})"


def mean(x: Vector, y: Vector | None = None) -> Scalar:
    """The averages Σ_α x_α/n of shape (k,), or the moments xᵀy/n of shape (k, m); in the limit E Z^x, E Z^x Z^y.

    >>> program = mupi.Program()
    >>> x = program.vector("x")
    >>> moment = mupi.mean(x, x)
    >>> round(float(program.limit(samples=None)[moment]), 4)
    1.0

    Raises:
        ValueError: If the arguments are no vectors of one program, or their product has no finite mean.
    """
    given = (x,) if y is None else (x, y)
    formula = f"mean({', '.join(name_of(v) for v in given)})"
    program = program_of(formula, list(given))
    for v in given:
        if not isinstance(v, Vector):
            fail(program.next_line(formula), "of vectors", describe(v))
    if y is None:
        return program.write(Scalar, Average(), given, probe.average(x.probe))
    return program.write(Scalar, Moment(), given, probe.average(x.probe[:, :, None] * y.probe[:, None]))


def apply(f: Callable[..., Tensor], *args: Any, name: str = "") -> Any:
    """f of vectors and scalars: of each coordinate of the vectors, or, without vectors, of the scalars.

    >>> program = mupi.Program()
    >>> x = program.vector("x")
    >>> y = mupi.apply(torch.relu, x)
    >>> second_moment = mupi.mean(y, y)
    >>> round(float(program.limit(samples=None)[second_moment]), 4)
    0.5

    Args:
        f: Made of torch operations. It gets vectors as (rows, k), any number of rows, and returns as many.
        args: Vectors, scalars and constants, in f's order.
        name: What f is called in the line.

    Raises:
        ValueError: If f mixes coordinates, does not fit its arguments, is not finite, or grows too fast.
    """
    return record(f, list(args), template=called(name, len(args)))


def multiplied(number: float, line: Any) -> Any:
    """A multiple of a line; the line itself for 1."""
    return line if number == 1 else number * line


def record(f: Callable[..., Any], args: list, *, keywords: tuple[str, ...] = (), template: str = "") -> Any:
    """A line that applies a function to lines and constants: see `Function`."""
    args = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in args]
    args = [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in args]
    formula = Function(f, keywords, template).formula(*map(name_of, args))
    check_not_tried(formula)
    for x in args:
        if isinstance(x, list | tuple) and any(isinstance(part, Line) for part in x):
            got = f"[{', '.join(map(describe, x))}]"
            fail(formula, "given lines one by one", got, "write apply(lambda x, y: torch.cat([x, y], 1), x, y)")
    program = program_of(formula, args)
    at = program.next_line(formula)
    if any(isinstance(x, MatrixLike) for x in args):
        fail(at, "of vectors and scalars", ", ".join(map(describe, args)), "matrices have W @ x, W.T @ y, c * W")
    is_vector = [isinstance(x, Vector) for x in args]
    if f is operator.matmul and any(is_vector) and is_vector != [True, False]:
        fail(at, "a vector times scalars", " @ ".join(map(describe, args)), "use mean(x, y) for moments")
    function = (Coordinatewise if any(is_vector) else OfScalars)(f, keywords, template)
    # Copies, which a function that changes what it is given may spoil.
    values = [x.probe.clone() if isinstance(x, Line) else x for x in args]
    versions = [version(x) if isinstance(x, Tensor) else 0 for x in values]
    with tried(at):
        try:
            trial = function(*values)
        except CapturedError:
            raise
        except Exception as error:
            fail(at, "of arguments that fit", ", ".join(map(describe, args)), probe.first_sentence(error))
        if versions != [version(x) if isinstance(x, Tensor) else 0 for x in values]:
            got = "one that changes them in place"
            fail(at, "a function that leaves its arguments as they are", got, "give it a copy: x.clone()")
        if not any(is_vector):
            if not isinstance(trial, Tensor):
                fail(at, "a tensor", type(trial).__name__)
            probed = probe.plausible(trial)
        else:
            probed = _probed(at, function, values, is_vector, trial)
    return program.write(Vector if any(is_vector) else Scalar, function, tuple(args), probed)


def _probed(at: str, function: Function, values: list, is_vector: list[bool], trial: Any) -> Tensor:
    """The probe of a new vector."""
    if not isinstance(trial, Tensor) or trial.ndim != 2:
        got = tuple(trial.shape) if isinstance(trial, Tensor) else type(trial).__name__
        fail(at, "a block of vectors, (rows, k)", got)
    if not trial.is_floating_point():
        fail(at, "of a floating dtype", trial.dtype, "use .double()")
    probe.check_coordinatewise(at, function, values, is_vector, trial)
    probe.check_growth(at, trial)
    return trial
