"""What a line of a program does, as data: a frozen object for each kind, with its value in a space and its formula."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.programs.deferred import applied

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


@dataclass(frozen=True, eq=False)
class Operation:
    """What a line does with its arguments: lines of the program, and constants."""

    def compute(self, space: Any, *values: Any) -> Any:
        """Its value in a `mupi.programs.spaces.Space` from those of the arguments."""
        raise NotImplementedError

    def formula(self, *names: str) -> str:
        """How it is written, with names of the arguments."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class InitialVector(Operation):
    """k initial vectors: coordinates are iid N(mean, factor factorᵀ).

    Attributes:
        factor: A root of the covariance.
        mean: The mean.
    """

    factor: Float[Tensor, "k r"]
    mean: Float[Tensor, " k"]

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.gaussian(self.factor, self.mean)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return "initial vector"


@dataclass(frozen=True, eq=False)
class GaussianMatrix(Operation):
    """W with iid N(0, σ²/n) entries, n the number of its columns.

    Attributes:
        sigma: Standard deviation of the entries, times √n.
        ratio: Rows over columns.
    """

    sigma: float
    ratio: float = 1.0

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.matrix(self.sigma, self.ratio)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"matrix of N(0, {self.sigma:g}²/n)" + (f", {self.ratio:g}n×n" if self.ratio != 1 else "")


@dataclass(frozen=True, eq=False)
class Constant(Operation):
    """Numbers that are given.

    Attributes:
        value: The numbers, in double precision.
    """

    value: Float[Tensor, "..."]

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return self.value.to(space.dtype)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return "constant"


@dataclass(frozen=True, eq=False)
class Function(Operation):
    """A function of coordinates of vectors, and of scalars and constants.

    Attributes:
        f: The function; it gets vectors as (rows, k).
        keywords: Names of the last arguments, where f takes them by name.
        template: How it is written, with {} for each argument; "" for f's own name or symbol.
    """

    f: Callable[..., Any]
    keywords: tuple[str, ...] = ()
    template: str = ""

    def __call__(self, *arguments: Any) -> Any:
        """f of arguments in the order of the line's."""
        positional = len(arguments) - len(self.keywords)
        return self.f(*arguments[:positional], **dict(zip(self.keywords, arguments[positional:], strict=True)))

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        if self.template:
            return self.template.format(*names)
        if self.f in SYMBOLS:
            return SYMBOLS[self.f].format(*names)
        positional = len(names) - len(self.keywords)
        named = (f"{key}={name}" for key, name in zip(self.keywords, names[positional:], strict=True))
        return f"{getattr(self.f, '__name__', 'f')}({', '.join([*names[:positional], *named])})"


class Coordinatewise(Function):
    """A function of vectors, coordinate by coordinate: a vector."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.apply(self, in_dtype(space, values))


class OfScalars(Function):
    """A function of scalars: a scalar."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return self(*in_dtype(space, values))


class Average(Operation):
    """Σ_α x_α/n."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.mean(*values)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"mean({', '.join(names)})"


class Moment(Average):
    """xᵀy/n."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.moment(*values)


@dataclass(frozen=True, eq=False)
class Product(Operation):
    """Wx or Wᵀx.

    Attributes:
        transposed: Whether it is Wᵀx.
    """

    transposed: bool

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        matrix, x = values
        return (matrix.T if self.transposed else matrix) @ x

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"{names[0]}{'.T' if self.transposed else ''} @ {names[1]}"


class PlusOuter(Operation):
    """W + d xᵀ/n."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.add_outer(*values)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"{names[0]} + outer({names[1]}, {names[2]})"


class Sum(Operation):
    """W + W', of two that came from one matrix."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return values[0] + values[1]

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"{names[0]} + {names[1]}"


class Multiple(Operation):
    """c W, of a matrix and a number or scalar."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        matrix, number = values
        return matrix * (number.reshape(()) if isinstance(number, Tensor) else number)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"{names[1]} * {names[0]}"


class OuterEntries(Operation):
    """d xᵀ, entry by entry."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.entries(*values)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"entries({names[0]}, {names[1]})"


class Entrywise(Function):
    """A function of entries of n × n matrices, entry by entry."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return applied(self, *values)


class PlusEntries(Operation):
    """W + c Q/n, of a matrix, entries Q of order one, and a number."""

    def compute(self, space: Any, *values: Any) -> Any:
        """See `Operation`."""
        return space.add_entries(*values)

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return f"{names[0]} + {names[2]} * over_n({names[1]})"


@dataclass(frozen=True, eq=False)
class Given(Operation):
    """A value that is known from somewhere else, such as an earlier program that this one goes on from."""

    def compute(self, space: Any, *values: Any) -> Any:
        """Refused.

        Raises:
            ValueError: Always.
        """
        raise ValueError("its value is to be given, and none was")

    def formula(self, *names: str) -> str:
        """See `Operation`."""
        return "given"


def in_dtype(space: Any, values: Sequence[Any]) -> list[Any]:
    """Constants, which programs hold in double precision, in that of the space."""
    return [x.to(space.dtype) if isinstance(x, Tensor) and x.dtype == torch.float64 else x for x in values]


def called(name: str, arguments: int) -> str:
    """The template of a function with a name of its own."""
    return f"{name.replace('{', '{{').replace('}', '}}')}({', '.join(['{}'] * arguments)})" if name else ""
