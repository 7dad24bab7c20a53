"""Gaussian expectations of products of functions that depend on one Gaussian vector of at most two dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.plane import plane_moments
from mupi.programs.polar import RADIUS
from mupi.programs.profile import Profile, profile

Values = Callable[[tuple[int, ...], Float[Tensor, "points leaves"]], Float[Tensor, " points"]]
"""The product of some functions at given Gaussians."""

PLAIN = 0.3
"""Width of cells in which functions are polynomials, for which a fixed rule has nodes enough."""

TRUSTED = 1e-10
"""Of E |…|: where the fixed rules differ more, cells are cut."""

ROUGHEST = 1e-6
"""Of E |…|: a moment that is not known better is refused."""

NOTHING = 1e-20
"""Where not even that is asked: of what happens in the far tails only."""


@dataclass(frozen=True)
class Ridge:
    """Functions of one linear form.

    Attributes:
        functions: Numbers of the functions in the list of all.
        direction: The form, of norm 1.
        profiles: Profile of each function along the form.
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
        functions: Numbers of the functions in the list of all.
        values: Evaluates the functions at points.
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
        """E of the functions times linear forms of u, and a bound of its error, or infinity.

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
        seen = all(p.seen for ridge in self.ridges for p in ridge.profiles)
        return value, error if seen else float("inf")

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
            cells = self._profile().cells
            value, error, size = (float(x.sum()) for x in cells.integrals(n))
            # Where a break is, is known to rounding only: a narrow window is not rough for it.
            size += float(cells.misplaced(n).sum()) / ROUGHEST
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
        return float((product * values).sum()), float((size * errors).sum()), float((size * sizes).sum())

    def _profile(self) -> Profile:
        """Of the product of functions of one form."""
        ridge, key = self.ridges[0], self.functions
        return resolved(key, ridge.direction, self.values, self.profiles)

    def _plane(self, degree: int) -> Float[Tensor, "3 powers powers"]:
        def g(u: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
            return self.values(self.functions, u @ self.basis)

        edges = [(self.basis[:, : len(r.direction)] @ r.direction, r.edges) for r in self.ridges]
        return plane_moments(g, edges, self.axis, self.whole, degree)


def resolved(functions: tuple[int, ...], direction: Tensor, values: Values, profiles: dict) -> Profile:
    """The profile of a product of functions of one form, which is made once."""
    if functions not in profiles:
        profiles[functions] = profile(lambda _, t: values(functions, t[:, None] * direction))
    return profiles[functions]
