"""Gaussian expectations of products of functions: independent components, Wick's theorem, quadrature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import pi

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail

RADIUS = 11.0
"""Beyond it the Gaussian measure is below 1e-26."""

FINE, COARSE = (80, 30), (60, 22)
"""Nodes along a radius, and in each sector between two rays."""


def wick(forms: Sequence[Float[Tensor, " leaves"]]) -> float:
    """E Π_i ⟨f_i, z⟩ for z ~ N(0, I): the sum over pairings of products of ⟨f_i, f_j⟩ (Isserlis)."""
    if not forms:
        return 1.0
    first, *rest = forms
    return sum((float(first @ other) * wick(rest[:j] + rest[j + 1 :]) for j, other in enumerate(rest)), 0.0)


@dataclass(frozen=True)
class Component:
    """Functions that depend on one Gaussian vector u of at most two dimensions.

    Attributes:
        basis: u = basis · (all Gaussians), orthonormal rows.
        rules: For a fine and a coarse rule, nodes u and weights times the product of the functions there.
    """

    basis: Float[Tensor, "r leaves"]
    rules: tuple[tuple[Float[Tensor, "_ r"], Float[Tensor, " _"]], ...]

    def coordinates(self, form: Float[Tensor, " leaves"]) -> Float[Tensor, " r"]:
        """The part of a linear form that is one of u."""
        return self.basis @ form

    def lift(self, u: Float[Tensor, " r"]) -> Float[Tensor, " leaves"]:
        """A form of u as one of all Gaussians."""
        return self.basis.T @ u

    def widened(self, leaves: int) -> "Component":
        """The same among more Gaussians."""
        missing = leaves - self.basis.shape[1]
        return self if not missing else replace(self, basis=torch.nn.functional.pad(self.basis, (0, missing)))

    def moment(self, forms: Sequence[Float[Tensor, " r"]]) -> tuple[float, float]:
        """E of the functions times linear forms of u, and the difference of the two rules.

        Raises:
            ValueError: If the rules differ by more than 1e-6 of the integral of the absolute value.
        """
        values, sizes = [], []
        for nodes, weights in self.rules:
            for form in forms:
                weights = weights * (nodes @ form)
            values.append(float(weights.sum()))
            sizes.append(float(weights.abs().sum()))
        error = abs(values[0] - values[1])
        if not error <= 1e-6 * sizes[0]:
            got = f"quadratures {values[0]:.8g} and {values[1]:.8g}"
            fail("limit()", "of smooth functions with kinks at 0 and finite moments", got, "use limit(samples=...)")
        return values[0], error


def components(
    functions: Sequence[int],
    forms: Sequence[Float[Tensor, "forms leaves"]],
    linear: Sequence[Float[Tensor, "kinks leaves"]],
    values: Callable[[tuple[int, ...], Float[Tensor, "points leaves"]], Float[Tensor, " points"]],
) -> list[Component]:
    """Split functions into groups that are independent of each other.

    Args:
        functions: Their numbers.
        forms: The linear forms that each depends on.
        linear: Those with which it may change abruptly at 0.
        values: The product of some functions at given Gaussians.

    Raises:
        ValueError: If a group depends on more than two dimensions.
    """
    groups: list[list[int]] = []
    for i, own in enumerate(forms):
        joined = [g for g in groups if any((own @ forms[j].T).abs().max() > 1e-12 for j in g if own.numel())]
        groups = [g for g in groups if g not in joined] + [[i, *(j for g in joined for j in g)]]
    return [
        _component(
            tuple(functions[i] for i in group),
            torch.cat([forms[i] for i in group]),
            torch.cat([linear[i] for i in group]),
            values,
        )
        for group in groups
    ]


def _component(functions: tuple[int, ...], forms: Tensor, linear: Tensor, values: Callable) -> Component:
    size = forms.norm(dim=1, keepdim=True).clamp_min(1e-300)
    _, singular, rows = torch.linalg.svd(forms / size, full_matrices=False)
    basis = rows[singular > 1e-9]
    if len(basis) > 2:
        got = f"functions of {len(basis)} dependent Gaussians"
        fail("limit()", "of moments in at most two Gaussian dimensions", got, "use limit(samples=...)")
    rules = []
    for radial, angular in (FINE, COARSE):
        nodes, weights = _rule(basis, linear @ basis.T, radial, angular)
        rules.append((nodes, weights * values(functions, nodes @ basis)))
    return Component(basis, tuple(rules))


def _rule(basis: Tensor, kinks: Float[Tensor, "kinks r"], radial: int, angular: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for N(0, I_r), r ≤ 2, without a node's neighbourhood across a line where a kink may be."""
    if len(basis) == 0:
        return basis.new_zeros(1, 0), basis.new_ones(1)
    t, w = _legendre(radial)
    r, w = RADIUS * (t + 1) / 2, RADIUS / 2 * w
    if len(basis) == 1:
        density = w * torch.exp(-r.square() / 2) / (2 * pi) ** 0.5
        return torch.cat([-r, r])[:, None], torch.cat([density, density])
    angles = torch.atan2(kinks[:, 1], kinks[:, 0]) + pi / 2 if len(kinks) else basis.new_zeros(1)
    rays = torch.cat([angles, angles + pi, angles + pi / 2, angles - pi / 2]).remainder(2 * pi).sort().values
    rays = torch.cat([rays[:1], rays[1:][rays.diff() > 1e-12]])
    edges = torch.cat([rays, rays[:1] + 2 * pi])
    t, v = _legendre(angular)
    half = edges.diff()[:, None] / 2
    θ, v = (edges[:-1, None] + half * (t + 1)).flatten(), (half * v).flatten()
    nodes = torch.stack([torch.outer(r, θ.cos()), torch.outer(r, θ.sin())], -1).reshape(-1, 2)
    return nodes, torch.outer(w * r * torch.exp(-r.square() / 2), v / (2 * pi)).flatten()


@cache
def _legendre(nodes: int) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Gauss–Legendre on [−1, 1]."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy(t), torch.from_numpy(w)
