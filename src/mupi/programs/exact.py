"""The limit in closed form: moments of polynomials in Gaussians and in functions of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.programs.expectation import Component, components, wick
from mupi.programs.family import Family, LimitMatrix
from mupi.programs.symbols import CONSTANT, Monomial, Polynomial, Symbols, multiply


@dataclass(frozen=True)
class Function:
    """One output column of f(arguments).

    Attributes:
        f: Coordinatewise.
        arguments: Blocks, scalars and constants.
        column: Which output.
        forms: The linear forms of the Gaussians that it depends on, as rows.
        linear: Those among them that f gets as an argument, where it may have its kinks.
    """

    f: Callable
    arguments: list
    column: int
    forms: Float[Tensor, "forms leaves"]
    linear: Float[Tensor, "kinks leaves"]


class Exact:
    """All random variables in closed form, and their moments by Wick's theorem and quadrature in ≤ 2 dimensions.

    A function f(Z, …) whose arguments lie in the span of a few Gaussians stays one symbol; sums and products are
    multiplied out. The expectation of a monomial falls into independent components, in each of which the functions
    may depend on two dimensions at most.

    Attributes:
        error: Bound of the quadrature's error in any moment so far, from the difference of two rules.
    """

    dtype = torch.float64
    tolerance = 1e-6

    def __init__(self):
        self.leaves = 0
        self.functions: list[Function] = []
        self.error = 0.0
        self._moments: dict[Monomial, float] = {CONSTANT: 1.0}
        self._components: dict[Monomial, list[Component]] = {}

    def fresh(self, columns: int, against: list[Symbols]) -> Symbols:
        """New independent N(0, 1)."""
        self.leaves += columns
        return Symbols([{(i,): 1.0} for i in range(self.leaves - columns, self.leaves)])

    def gaussian(self, factor: Float[Tensor, "k r"], mean: Float[Tensor, " k"]) -> Symbols:
        """See `Space`."""
        new = self.fresh(factor.shape[1], [])
        return (new @ factor.T if new.columns else Symbols([{} for _ in mean])) + mean

    def matrix(self, sigma: float) -> LimitMatrix:
        """See `Space`."""
        one = torch.ones((), dtype=self.dtype)
        return LimitMatrix(Family(self, sigma), one, one.new_zeros(0, 0))

    def add_outer(self, matrix: LimitMatrix, d: Symbols, x: Symbols) -> LimitMatrix:
        """See `Space`."""
        return matrix.plus_outer(d, x)

    def inner(self, x: Symbols, y: Symbols) -> Float[Tensor, "k m"]:
        """See `Space`."""
        rows = [[self._expect(multiply(a, b)) for b in y.columns] for a in x.columns]
        return torch.tensor(rows, dtype=self.dtype).reshape(len(x.columns), len(y.columns))

    def moment(self, x: Symbols, y: Symbols) -> Float[Tensor, "k m"]:
        """See `Space`."""
        return self.inner(x, y)

    def mean(self, x: Symbols) -> Float[Tensor, " k"]:
        """See `Space`."""
        return torch.tensor([self._expect(a) for a in x.columns], dtype=self.dtype)

    def apply(self, f: Callable, args: list) -> Symbols:
        """See `Space`: multiplied out if f consists of sums and products, else a symbol."""
        try:
            result = f(*args)
            if isinstance(result, Symbols):
                return result
        except (TypeError, AttributeError, ValueError, RuntimeError):
            # Symbols have sums and products only, and f asked for more: how it fails depends on what it asked for
            # (torch.tanh, torch.where, torch.func.grad, …). Nothing is hidden by this: f did what it should when its
            # line was written, on tensors, and gets tensors again below.
            pass
        depends = _dependence(f, args)
        first = len(self.functions)
        for column, used in enumerate(depends):
            inputs = [polynomial for block, i in used for polynomial in [block.columns[i]]]
            linear = [form for p in inputs if (form := self._linear(p)) is not None]
            forms = [form for p in inputs for form in self._forms(p)]
            self.functions.append(Function(f, args, column, self._stack(forms), self._stack(linear)))
        return Symbols([{(-1 - i,): 1.0} for i in range(first, len(self.functions))])

    def values(self, monomial: Monomial, points: Float[Tensor, "points leaves"]) -> Float[Tensor, " points"]:
        """A product of functions at given values of the Gaussians."""
        cache: dict[int, Tensor] = {}

        def of(polynomial: Polynomial) -> Tensor:
            total = points.new_zeros(len(points))
            for factors, coefficient in polynomial.items():
                term = points.new_full((len(points),), coefficient)
                for i in factors:
                    term = term * (points[:, i] if i >= 0 else function(-1 - i))
                total = total + term
            return total

        def block(x: Any) -> Any:
            return torch.stack([of(p) for p in x.columns], 1) if isinstance(x, Symbols) else x

        def function(i: int) -> Tensor:
            if i not in cache:
                g = self.functions[i]
                cache[i] = g.f(*(block(x) for x in g.arguments))[:, g.column]
            return cache[i]

        result = points.new_ones(len(points))
        for i in monomial:
            result = result * function(-1 - i)
        return result

    def _expect(self, polynomial: Polynomial) -> float:
        return sum((c * self._moment(m) for m, c in polynomial.items()), 0.0)

    def _moment(self, monomial: Monomial) -> float:
        """E of a product of Gaussians and functions."""
        if monomial not in self._moments:
            self._moments[monomial] = self._split(monomial)
        return self._moments[monomial]

    def _split(self, monomial: Monomial) -> float:
        """Each Gaussian is the sum of its projections on the components and an independent rest; multiplied out."""
        functions = tuple(i for i in monomial if i < 0)
        parts = self._independent(functions)
        unit = torch.eye(self.leaves, dtype=self.dtype)
        gaussians = []
        for i in monomial:
            if i >= 0:
                inside = [part.coordinates(unit[i]) for part in parts]
                rest = unit[i] - sum((part.lift(u) for part, u in zip(parts, inside, strict=True)), 0 * unit[i])
                gaussians.append([*inside, rest])
        total = 0.0
        choices = [[j for j, v in enumerate(g) if v.abs().max() > 1e-12] for g in gaussians]
        for choice in product(*choices):
            term = wick([g[-1] for g, j in zip(gaussians, choice, strict=True) if j == len(parts)])
            for j, part in enumerate(parts):
                if term != 0:
                    value, error = part.moment([g[j] for g, i in zip(gaussians, choice, strict=True) if i == j])
                    self.error = max(self.error, error)
                    term *= value
            total += term
        return total

    def _independent(self, functions: Monomial) -> list[Component]:
        """The independent components of a product of functions."""
        if functions not in self._components:
            forms = [_pad(self.functions[-1 - i].forms, self.leaves) for i in functions]
            linear = [_pad(self.functions[-1 - i].linear, self.leaves) for i in functions]
            self._components[functions] = components(functions, forms, linear, self.values)
        return [part.widened(self.leaves) for part in self._components[functions]]

    def _linear(self, polynomial: Polynomial) -> Tensor | None:
        """The coefficients of a polynomial of degree one in Gaussians; None of others."""
        form = torch.zeros(self.leaves, dtype=self.dtype)
        for monomial, coefficient in polynomial.items():
            if len(monomial) > 1 or (monomial and monomial[0] < 0):
                return None
            if monomial:
                form[monomial[0]] = coefficient
        return form

    def _forms(self, polynomial: Polynomial) -> list[Tensor]:
        """Linear forms of which a polynomial is a function: its linear part, and what its other terms are made of."""
        linear = {m: c for m, c in polynomial.items() if len(m) <= 1 and all(i >= 0 for i in m)}
        form = self._linear(linear)
        forms = [] if form is None or not form.any() else [form]
        for i in {i for m in polynomial if m not in linear for i in m}:
            one = torch.zeros(1, self.leaves, dtype=self.dtype)
            one[0, max(i, 0)] = 1
            forms += list(one if i >= 0 else _pad(self.functions[-1 - i].forms, self.leaves))
        return forms

    def _stack(self, forms: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(forms)) if forms else torch.zeros(0, self.leaves, dtype=self.dtype)


def _pad(forms: Float[Tensor, "forms some"], leaves: int) -> Float[Tensor, "forms leaves"]:
    """Forms of fewer Gaussians as forms of all."""
    return torch.nn.functional.pad(forms, (0, leaves - forms.shape[1]))


def _dependence(f: Callable, args: list) -> list[list[tuple[Symbols, int]]]:
    """For each output column, the argument columns that it changes with, found by trying."""
    generator = torch.Generator().manual_seed(0)
    trial = [
        torch.rand(16, len(x.columns), generator=generator, dtype=torch.float64) if isinstance(x, Symbols) else x
        for x in args
    ]
    start = f(*trial)
    depends: list[list[tuple[Symbols, int]]] = [[] for _ in range(start.shape[1])]
    for place, x in enumerate(args):
        if isinstance(x, Symbols):
            for i in range(len(x.columns)):
                changed = list(trial)
                changed[place] = trial[place].clone()
                changed[place][:, i] = -3 * changed[place][:, i]
                differs = (f(*changed) != start).any(0)
                for column in torch.nonzero(differs)[:, 0].tolist():
                    depends[column].append((x, i))
    return depends
