"""Products of functions of Gaussians, split into groups that are independent of each other."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.expectation import Component, Ridge, Values, resolved
from mupi.programs.polar import COARSE, FINE, polar
from mupi.programs.profile import Profile


def components(
    functions: Sequence[int],
    forms: Sequence[Float[Tensor, "forms leaves"]],
    linear: Sequence[Float[Tensor, "kinks leaves"]],
    values: Values,
    profiles: dict[tuple[int, ...], Profile],
) -> list[Component]:
    """Split functions into groups that are independent of each other.

    Args:
        functions: Numbers of the functions in the list of all.
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
    plain = not other and all(r.is_plain and _has_ray(r.direction @ basis.T, kinks) for r in ridges)
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
        profiled = [resolved((i,), direction, values, profiles) for i in set(members)]
        ridges.append(Ridge(tuple(members), direction, profiled))
    return ridges


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
