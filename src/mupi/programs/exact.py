"""The limit in closed form: moments of polynomials in Gaussians and in functions of them."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.dependence import RADII, dependence, points_to_try
from mupi.programs.expectation import Component
from mupi.programs.family import Family, LimitMatrix
from mupi.programs.independent import components
from mupi.programs.pairings import wick
from mupi.programs.profile import Profile
from mupi.programs.seen import takes_numbers_out
from mupi.programs.symbols import CONSTANT, Monomial, Polynomial, Symbols, multiply

DOUBTFUL = "`limit()` averages a function that leaves torch, or changes more often than can be followed"
"""What has no bound of its error."""

FEW_TERMS = 4
"""More Gaussians in a sum are added up by one product."""


@dataclass(frozen=True)
class Function:
    """One output column of f(arguments).

    Attributes:
        f: The coordinatewise function.
        arguments: Blocks, scalars and constants.
        column: Which of its outputs this is.
        forms: The linear forms of the Gaussians that it depends on, as rows.
        linear: Those among them that f gets as an argument, where it may have its kinks.
        opaque: Whether it is computed outside of torch, where nobody sees it break.
    """

    f: Callable
    arguments: list
    column: int
    forms: Float[Tensor, "forms leaves"]
    linear: Float[Tensor, "kinks leaves"]
    opaque: bool


class Exact:
    """All random variables in closed form, and their moments by Wick's theorem and quadrature in ≤ 2 dimensions.

    A function f(Z, …) whose arguments lie in the span of a few Gaussians stays one symbol; sums and products are
    multiplied out. The expectation of a monomial falls into independent components, in each of which the functions
    may depend on two dimensions at most.

    Attributes:
        errors: Of the quadrature in the moments so far (bounds, or measured: `Values.error`); 0 where none was needed.

    Args:
        signs: With which multiple of its error the k-th moment that is not exact is wrong: for trying what errors do
            to everything that is computed from moments. None for 0.
    """

    dtype = torch.float64
    tolerance = 1e-6

    def __init__(self, signs: Callable[[int], int] | None = None):
        self.signs = signs
        self.leaves = 0
        self.functions: list[Function] = []
        self.errors: dict[Monomial, float] = {CONSTANT: 0.0}
        self._moments: dict[Monomial, float] = {CONSTANT: 1.0}
        self._components: dict[Monomial, list[Component]] = {}
        self._profiles: dict[tuple[int, ...], Profile] = {}

    def fresh(self, columns: int, against: list[Symbols]) -> Symbols:
        """New independent N(0, 1)."""
        self.leaves += columns
        return Symbols([{(i,): 1.0} for i in range(self.leaves - columns, self.leaves)])

    def gaussian(self, factor: Float[Tensor, "k r"], mean: Float[Tensor, " k"]) -> Symbols:
        """See `Space`."""
        new = self.fresh(factor.shape[1], [])
        return (new @ factor.T if new.columns else Symbols([{} for _ in mean])) + mean

    def matrix(self, sigma: float, ratio: float = 1.0) -> LimitMatrix:
        """See `Space`."""
        one = torch.ones((), dtype=self.dtype)
        return LimitMatrix(Family(self, sigma, ratio), one, one.new_zeros(0, 0))

    def add_outer(self, matrix: LimitMatrix, d: Symbols, x: Symbols) -> LimitMatrix:
        """See `Space`."""
        return matrix.plus_outer(d, x)

    def entries(self, d: Symbols, x: Symbols) -> Any:
        """Refused.

        Raises:
            ValueError: Always.
        """
        fail("limit()", "of a program whose matrices change by outer products", "functions of their entries",
             "sample it: limit(samples=...)")  # fmt: skip

    def add_entries(self, matrix: LimitMatrix, q: Any, number: float) -> Any:
        """Refused: see `entries`."""
        self.entries(q, q)

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

    def bound(self, x: Symbols, y: Symbols | None = None) -> Float[Tensor, "..."]:
        """Bounds of the errors of ``mean(x)``, or of ``moment(x, y)``, from those of their own moments."""
        if y is None:
            return torch.tensor([self._in_doubt(a) for a in x.columns], dtype=self.dtype)
        rows = [[self._in_doubt(multiply(a, b)) for b in y.columns] for a in x.columns]
        return torch.tensor(rows, dtype=self.dtype).reshape(len(x.columns), len(y.columns))

    def apply(self, f: Callable, args: list) -> Symbols:
        """See `Space`: multiplied out if f consists of sums and products, else a symbol, or a number if it is one."""
        trial = points_to_try(self.leaves, self.dtype)
        try:
            result = f(*args)
            if isinstance(result, Symbols) and self._is(result, f, args, trial):
                return result
        except Exception:
            # Symbols have sums and products only, and f asked for more: how it fails depends on what it asked for
            # (torch.tanh, torch.where, torch.func.grad, …). Nothing is hidden by this: f did what it should when its
            # line was written, on tensors, and gets tensors again below.
            pass
        blocks = [self._block(x, trial) for x in args]
        opaque = takes_numbers_out(f, blocks) or any(
            self._is_opaque(p) for x in args if isinstance(x, Symbols) for p in x.columns
        )
        columns: list[Polynomial] = []
        for column, used in enumerate(dependence(f, args, blocks)):
            inputs = [block.columns[i] for block, i in used]
            linear = [form for p in inputs if (form := self._linear(p)) is not None]
            forms = [form for p in inputs for form in self._forms(p)]
            self.functions.append(Function(f, args, column, self._stack(forms), self._stack(linear), opaque))
            symbol = -len(self.functions)
            constant = float(self.values((symbol,), trial[:1])[0])
            columns.append({(symbol,): 1.0} if forms else {CONSTANT: constant} if constant else {})
        return Symbols(columns)

    def values(self, monomial: Monomial, points: Float[Tensor, "points leaves"]) -> Float[Tensor, " points"]:
        """A product of functions at given values of the Gaussians."""
        cache: dict[int, Tensor] = {}
        result = points.new_ones(len(points))
        for i in monomial:
            result = result * self._function(-1 - i, points, cache)
        return result

    def _function(self, i: int, points: Float[Tensor, "points leaves"], cache: dict[int, Tensor]) -> Tensor:
        if i not in cache:
            g = self.functions[i]
            cache[i] = g.f(*(self._block(x, points, cache) for x in g.arguments))[:, g.column].to(self.dtype)
        return cache[i]

    def _block(self, x: Any, points: Float[Tensor, "points leaves"], cache: dict[int, Tensor] | None = None) -> Any:
        """A block at given values of the Gaussians; anything else as it is."""
        if not isinstance(x, Symbols):
            return x
        cache = {} if cache is None else cache
        columns = []
        for polynomial in x.columns:
            total = points.new_zeros(len(points))
            linear = {m[0]: c for m, c in polynomial.items() if len(m) == 1 and m[0] >= 0}
            if len(linear) > FEW_TERMS:
                form = points.new_zeros(points.shape[1])
                form[list(linear)] = points.new_tensor(list(linear.values()))
                total = points @ form
                polynomial = {m: c for m, c in polynomial.items() if len(m) != 1 or m[0] < 0}
            for factors, coefficient in polynomial.items():
                term = points.new_full((len(points),), coefficient)
                for i in factors:
                    term = term * (points[:, i] if i >= 0 else self._function(-1 - i, points, cache))
                total = total + term
            columns.append(total)
        return torch.stack(columns, 1)

    def _is(self, result: Symbols, f: Callable, args: list, trial: Float[Tensor, "points leaves"]) -> bool:
        """Whether f does with tensors what it did with symbols: it may have looked at what it got."""
        points = trial[: len(RADII)]
        on_tensors, on_symbols = f(*(self._block(x, points) for x in args)), self._block(result, points)
        return on_tensors.shape == on_symbols.shape and torch.allclose(on_tensors.to(self.dtype), on_symbols)

    def _expect(self, polynomial: Polynomial) -> float:
        return sum((c * self._moment(m) for m, c in polynomial.items()), 0.0)

    def _moment(self, monomial: Monomial) -> float:
        """E of a product of Gaussians and functions."""
        if monomial not in self._moments:
            value, error = self._split(monomial)
            if error == float("inf"):
                told = f"{DOUBTFUL}: its error is not known; compare with limit(samples=...)"
                warnings.warn(told, stacklevel=2)
            if self.signs is not None and error:
                value += self.signs(sum(e > 0 for e in self.errors.values())) * error
            self._moments[monomial], self.errors[monomial] = value, error
        return self._moments[monomial]

    def _in_doubt(self, polynomial: Polynomial) -> float:
        self._expect(polynomial)
        return sum((abs(c) * self.errors[m] for m, c in polynomial.items()), 0.0)

    def _split(self, monomial: Monomial) -> tuple[float, float]:
        """A moment and a bound of its error.

        Each Gaussian is the sum of its projections on the components and an independent rest; multiplied out.
        """
        functions = tuple(i for i in monomial if i < 0)
        parts = self._independent(functions)
        unit = torch.eye(self.leaves, dtype=self.dtype)
        gaussians = []
        for i in monomial:
            if i >= 0:
                inside = [part.coordinates(unit[i]) for part in parts]
                rest = unit[i] - sum((part.lift(u) for part, u in zip(parts, inside, strict=True)), 0 * unit[i])
                gaussians.append([*inside, rest])
        total = error = 0.0
        choices = [[j for j, v in enumerate(g) if v.abs().max() > 1e-12] for g in gaussians]
        for choice in product(*choices):
            term, doubt = wick([g[-1] for g, j in zip(gaussians, choice, strict=True) if j == len(parts)]), 0.0
            for j, part in enumerate(parts):
                if term != 0:
                    value, own = part.moment([g[j] for g, i in zip(gaussians, choice, strict=True) if i == j])
                    term, doubt = term * value, abs(value) * doubt + (abs(term) + doubt) * own
            total, error = total + term, error + doubt
        return total, error if error < float("inf") and not self._is_opaque({functions: 1.0}) else float("inf")

    def _is_opaque(self, polynomial: Polynomial) -> bool:
        """Whether something in it is computed where nobody sees it break."""
        return any(self.functions[-1 - i].opaque for monomial in polynomial for i in monomial if i < 0)

    def _independent(self, functions: Monomial) -> list[Component]:
        """The independent components of a product of functions."""
        if functions not in self._components:
            forms = [_pad(self.functions[-1 - i].forms, self.leaves) for i in functions]
            linear = [_pad(self.functions[-1 - i].linear, self.leaves) for i in functions]
            self._components[functions] = components(functions, forms, linear, self.values, self._profiles)
        for part in self._components[functions]:
            part.widen(self.leaves)
        return self._components[functions]

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
