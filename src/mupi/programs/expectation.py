"""Gaussian expectations of products of functions: independent components, Wick's theorem, quadrature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.plane import plane_moments, probed_lines
from mupi.programs.polar import COARSE, FINE, RADIUS, polar
from mupi.programs.profile import Profile, profile


def wick(forms: Sequence[Float[Tensor, " leaves"]]) -> float:
    """E Π_i ⟨f_i, z⟩ for z ~ N(0, I): the sum over pairings of products of ⟨f_i, f_j⟩ (Isserlis)."""
    if len(forms) % 2:
        return 0.0
    kinds: list[Tensor] = []
    counts: list[int] = []
    for form in forms:
        equal = [k for k, kind in enumerate(kinds) if torch.equal(kind, form)]
        if equal:
            counts[equal[0]] += 1
        else:
            kinds.append(form)
            counts.append(1)
    dots = [[float(a @ b) for b in kinds] for a in kinds]

    @cache
    def paired(counts: tuple[int, ...]) -> float:
        """The first that is left, with each of the others: as often as there are equal ones."""
        first = next((k for k, count in enumerate(counts) if count), None)
        if first is None:
            return 1.0
        rest = [count - (k == first) for k, count in enumerate(counts)]
        return sum(
            (
                count * dots[first][k] * paired(tuple(c - (j == k) for j, c in enumerate(rest)))
                for k, count in enumerate(rest)
                if count
            ),
            0.0,
        )

    return paired(tuple(counts))


Values = Callable[[tuple[int, ...], Float[Tensor, "points leaves"]], Float[Tensor, " points"]]
"""The product of some functions at given Gaussians."""

PLAIN = 0.3
"""Width of cells in which functions are polynomials, for which a fixed rule has nodes enough."""

TRUSTED = 1e-10
"""Of E |…|: where the fixed rules differ more, cells are cut."""

ROUGHEST = 1e-6
"""Of E |…|: a moment that is not known better is refused."""

NOTHING = 1e-30
"""Where not even that is asked: of what happens in the far tails only."""


@dataclass(frozen=True)
class Ridge:
    """Functions of one linear form.

    Attributes:
        functions: Their numbers.
        direction: The form, of norm 1.
        profiles: Of each.
    """

    functions: tuple[int, ...]
    direction: Float[Tensor, " leaves"]
    profiles: list[Profile]

    @property
    def is_plain(self) -> bool:
        """Whether a fixed rule can be trusted with all."""
        return all(p.finest > PLAIN for p in self.profiles)

    @property
    def edges(self) -> Float[Tensor, " edges"]:
        """Between which all are polynomials."""
        return torch.unique(torch.cat([p.edges for p in self.profiles]))


@dataclass
class Component:
    """Functions that depend on one Gaussian vector u of at most two dimensions.

    Where all are ridges that are smooth but for 0, a fixed rule does (`polar`), its error being the difference from
    one with fewer nodes. Else they are cut into cells (`Profile`, `plane_moments`).

    Attributes:
        basis: u = basis · (all Gaussians), orthonormal rows.
        functions: Their numbers.
        values: Evaluates them.
        ridges: Those that depend on one linear form.
        axis: Of u, across which lines are integrated.
        rules: For a fine and a coarse rule, nodes u and weights times the product of the functions there; else none.
        whole: Whether the ridges are all functions.
        profiles: Of functions that were resolved before.
        known: Moments in coordinates along the axis and across, by degree.
    """

    basis: Float[Tensor, "r leaves"]
    functions: tuple[int, ...]
    values: Values
    ridges: list[Ridge]
    axis: Float[Tensor, " r"]
    rules: tuple[tuple[Float[Tensor, "_ r"], Float[Tensor, " _"]], ...]
    whole: bool
    profiles: dict[tuple[int, ...], Profile]
    known: dict[int, Float[Tensor, "3 powers powers"]] = field(default_factory=dict)

    def coordinates(self, form: Float[Tensor, " leaves"]) -> Float[Tensor, " r"]:
        """The part of a linear form that is one of u."""
        return self.basis @ form

    def lift(self, u: Float[Tensor, " r"]) -> Float[Tensor, " leaves"]:
        """A form of u as one of all Gaussians."""
        return self.basis.T @ u

    def widen(self, leaves: int) -> None:
        """Be the same among more Gaussians."""
        self.basis = torch.nn.functional.pad(self.basis, (0, leaves - self.basis.shape[1]))

    def moment(self, forms: Sequence[Float[Tensor, " r"]]) -> tuple[float, float]:
        """E of the functions times linear forms of u, and a bound of its error.

        Raises:
            ValueError: If the bound is above 1e-6 of the integral of the absolute value.
        """
        value, error, size = self._by_rules(forms) if self.rules else self._by_cells(forms)
        if self.rules and not error <= TRUSTED * size:
            value, error, size = self._by_cells(forms)
        if not error <= max(ROUGHEST * size, NOTHING):
            got = f"{value:.8g} ± {error:.2g}"
            must = "of functions with finite moments that are smooth but for kinks and jumps"
            fail("limit()", must, got, "use limit(samples=...)")
        return value, error

    def _by_rules(self, forms: Sequence[Float[Tensor, " r"]]) -> tuple[float, float, float]:
        values, sizes, outside = [], [], []
        for nodes, weights in self.rules:
            for form in forms:
                weights = weights * (nodes @ form)
            values.append(float(weights.sum()))
            sizes.append(float(weights.abs().sum()))
            outside.append(float(weights.abs()[nodes.norm(dim=1) > RADIUS - 1].sum()))
        rounding = 32 * torch.finfo(self.basis.dtype).eps * sizes[0]
        return values[0], abs(values[0] - values[1]) + outside[0] + rounding, sizes[0]

    def _by_cells(self, forms: Sequence[Float[Tensor, " r"]]) -> tuple[float, float, float]:
        n = len(forms)
        if len(self.basis) == 1:
            # The ridge's direction is u or −u.
            side = self.basis[0, : len(self.ridges[0].direction)] @ self.ridges[0].direction
            factor = float(torch.stack([form[0] * side for form in forms]).prod()) if forms else 1.0
            value, error, size = (float(x.sum()) for x in self._profile().cells.integrals(n))
            return factor * value, abs(factor) * error, abs(factor) * size
        rotation = torch.stack([self.axis, torch.stack([-self.axis[1], self.axis[0]])])
        # Coefficients of s^i t^(n − i) in the product of the forms.
        product = torch.ones(1, dtype=self.basis.dtype)
        for a, b in ((rotation @ form).tolist() for form in forms):
            product = a * torch.nn.functional.pad(product, (1, 0)) + b * torch.nn.functional.pad(product, (0, 1))
        degree = max(n, 2)
        if degree not in self.known:
            self.known[degree] = self._plane(degree)
        i = torch.arange(n + 1)
        values, errors, sizes = self.known[degree][:, i, n - i]
        size = product.abs()
        # What functions of two forms hide between the lines was measured: up to 2e-10; so much more is admitted.
        admitted = errors if self.whole else errors + 1e-8 * sizes
        return float((product * values).sum()), float((size * admitted).sum()), float((size * sizes).sum())

    def _profile(self) -> Profile:
        """Of the product of functions of one form."""
        ridge, key = self.ridges[0], self.functions
        return _resolved(key, ridge.direction, self.values, self.profiles)

    def _plane(self, degree: int) -> Float[Tensor, "3 powers powers"]:
        def g(u: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
            return self.values(self.functions, u @ self.basis)

        edges = [(self.basis[:, : len(r.direction)] @ r.direction, r.edges) for r in self.ridges]
        return plane_moments(g, edges, self.axis, self.whole, degree)


def components(
    functions: Sequence[int],
    forms: Sequence[Float[Tensor, "forms leaves"]],
    linear: Sequence[Float[Tensor, "kinks leaves"]],
    values: Values,
    profiles: dict[tuple[int, ...], Profile],
) -> list[Component]:
    """Split functions into groups that are independent of each other.

    Args:
        functions: Their numbers.
        forms: The linear forms that each depends on.
        linear: Those with which it may change abruptly at 0.
        values: The product of some functions at given Gaussians.
        profiles: Of functions that were resolved before; added to.

    Raises:
        ValueError: If a group depends on more than two dimensions.
    """
    units = [_unit(form) for form in forms]
    groups: list[list[int]] = []
    for i, own in enumerate(units):
        joined = [g for g in groups if any((own @ units[j].T).abs().max() > 1e-12 for j in g)]
        groups = [g for g in groups if g not in joined] + [[i, *(j for g in joined for j in g)]]
    return [
        _component(
            tuple(functions[i] for i in group),
            [units[i] for i in group],
            torch.cat([linear[i] for i in group]),
            values,
            profiles,
        )
        for group in groups
    ]


def _component(
    functions: tuple[int, ...],
    forms: Sequence[Float[Tensor, "forms leaves"]],
    linear: Float[Tensor, "kinks leaves"],
    values: Values,
    profiles: dict[tuple[int, ...], Profile],
) -> Component:
    basis = _span(torch.cat(list(forms)))
    if len(basis) > 2:
        got = f"functions of {len(basis)} dependent Gaussians"
        fail("limit()", "of moments in at most two Gaussian dimensions", got, "use limit(samples=...)")
    ridges = _ridges(functions, forms, values, profiles)
    other = set(functions) - {i for ridge in ridges for i in ridge.functions}
    kinks = linear @ basis.T
    plain = all(ridge.is_plain and _has_ray(ridge.direction @ basis.T, kinks) for ridge in ridges)
    plain = plain and all(_is_smooth(i, basis, values, profiles) for i in other)
    rules = []
    for radial, angular in (FINE, COARSE) if plain else ():
        nodes, weights = polar(basis, kinks, radial, angular)
        rules.append((nodes, weights * values(functions, nodes @ basis)))
    axis = basis @ (ridges[0].direction if ridges else forms[0][0])
    return Component(basis, functions, values, ridges, axis / axis.norm(), tuple(rules), not other, profiles)


def _ridges(functions: tuple[int, ...], forms: Sequence[Tensor], values: Values, profiles: dict) -> list[Ridge]:
    """Functions of one linear form each, those of the same together."""
    together: list[tuple[Tensor, list[int]]] = []
    for i, own in zip(functions, forms, strict=True):
        span = _span(own)
        if len(span) > 1:
            continue
        same = [
            members for direction, members in together if (direction - span[0] * (direction @ span[0])).norm() < 1e-12
        ]
        if same:
            same[0].append(i)
        else:
            together.append((span[0], [i]))
    ridges = []
    for direction, members in together:
        # One of the two signs, always the same: what is known of these functions is used again.
        direction = direction * torch.sign(direction[direction.abs().argmax()])
        resolved = [_resolved((i,), direction, values, profiles) for i in set(members)]
        ridges.append(Ridge(tuple(members), direction, resolved))
    return ridges


def _resolved(functions: tuple[int, ...], direction: Tensor, values: Values, profiles: dict) -> Profile:
    """The profile of a product of functions of one form, which is made once."""
    if functions not in profiles:
        profiles[functions] = profile(lambda _, t: values(functions, t[:, None] * direction))
    return profiles[functions]


def _is_smooth(function: int, basis: Tensor, values: Values, profiles: dict) -> bool:
    """Whether a function of two dimensions is smooth, at a scale that is not small, on some lines."""
    for k, (point, direction) in enumerate(probed_lines()):
        key = (function, k)
        if key not in profiles:
            profiles[key] = profile(
                lambda _, t, a=point, d=direction: values((function,), (a + t[:, None] * d) @ basis)
            )
        if profiles[key].finest < PLAIN / 2:
            return False
    return True


def _has_ray(direction: Float[Tensor, " r"], kinks: Float[Tensor, "kinks r"]) -> bool:
    """Whether the fixed rule knows of this direction."""
    if len(direction) == 1:
        return True
    unit = _unit(kinks)
    return bool(((unit @ direction).abs() > 1 - 1e-12).any())


def _unit(forms: Float[Tensor, "forms r"]) -> Float[Tensor, "forms r"]:
    return forms / forms.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _span(units: Float[Tensor, "forms leaves"]) -> Float[Tensor, "r leaves"]:
    """Orthonormal rows."""
    _, singular, rows = torch.linalg.svd(units, full_matrices=False)
    return rows[singular > 1e-12]
