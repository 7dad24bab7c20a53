"""Integrals of functions of two Gaussians that break anywhere: along lines, and then across them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.checks import fail
from mupi.programs.breaks import breaks
from mupi.programs.cells import FAR, Cells, density, resolve
from mupi.programs.profile import NEAR, around, first_edges

Plane = Callable[[Float[Tensor, "points 2"]], Float[Tensor, " points"]]

MOST = 60_000_000
"""Points at which functions are evaluated, before they are given up as too rough."""

AT_ONCE = 1 << 17
"""Points evaluated at once."""

ACROSS = 1e-11
"""Tolerance across the lines: above the noise of what is known along them."""

LEAST = 1e-40
"""Below it nothing is resolved: of functions that are not 0 in the far tails only."""

PROBED = (-2.3, -0.71, 0.13, 0.97, 2.6)
"""How far from 0 lines are on which functions are tried."""

DEEP = 40, 3
"""Around breaks points are looked at, at distances 1/2, 1/16, …, 2^−40."""

GRID, GRID_AGAIN = 192, 64
"""Points of a line that are searched (its first cells being halved), and of lines the other way."""


def plane_moments(
    g: Plane,
    edges: Sequence[tuple[Float[Tensor, "2"], Tensor]],
    axis: Float[Tensor, "2"],
    separable: bool,
    degree: int,
) -> Float[Tensor, "3 powers powers"]:
    """E g u^i v^j for (u, v) ~ N(0, I_2) and i, j ≤ degree, their errors, and E |g u^i v^j|.

    Lines run across ``axis``. On each, g is cut where the edges are, and integrated in cells that are halved until it
    is a polynomial in them; the integrals, as a function of the lines' places, are treated likewise.

    If all edges are known, the errors are bounds. Else lines may miss a region: with both ends between two points of
    all that are searched, in which no intermediate result changes its sign. What such regions do is measured: all is
    done again with lines that run the other way and fewer points, and the difference is added to the errors.

    Args:
        g: The function of (u, v) = points · (axis, across), rows in the basis of the edges.
        edges: Unit vectors d, and numbers c: what depends on d · (u, v) is a polynomial between neighbouring c.
        axis: Unit vector of the line that is integrated across.
        separable: Whether that is all; else lines are searched for breaks.
        degree: The highest power of the moments.

    Raises:
        ValueError: If more than 6e7 points are needed.
    """
    moments = _moments(g, edges, axis, None if separable else GRID, degree)
    if not separable:
        # In coordinates (v, −u).
        again, _, _ = _moments(g, edges, torch.stack([-axis[1], axis[0]]), GRID_AGAIN, degree)
        signs = (-1.0) ** torch.arange(degree + 1, dtype=again.dtype)
        moments[1] += (moments[0] - signs[:, None] * again.T).abs()
    return moments


def _moments(
    g: Plane,
    edges: Sequence[tuple[Float[Tensor, "2"], Tensor]],
    axis: Float[Tensor, "2"],
    grid: int | None,
    degree: int,
) -> Float[Tensor, "3 powers powers"]:
    """With lines in one direction, on which some points are searched, or none."""
    across = torch.stack([-axis[1], axis[0]])
    rotation = torch.stack([axis, across])
    spent = 0

    def along(s: Float[Tensor, " lines"], line: Int[Tensor, " points"], t: Float[Tensor, " points"]) -> Tensor:
        nonlocal spent
        spent += len(t)
        if spent > MOST:
            fail("limit()", "of moments that 6e7 points resolve", "more", "use limit(samples=...)")
        both = torch.stack([s[line], t], 1).split(AT_ONCE)
        return torch.cat([g(points @ rotation) for points in both])

    def integrals(_: Tensor, s: Float[Tensor, " lines"]) -> Float[Tensor, "lines k"]:
        """Along lines: the moments in t, the bounds of their errors, their sizes."""
        parts = []
        for chunk in s.split(512):
            cells = _along(lambda line, t, s=chunk: along(s, line, t), chunk, edges, rotation, grid)
            columns = []
            for kind in zip(*(cells.integrals(j) for j in range(degree + 1)), strict=True):
                per_cell = torch.cat(kind, 1)
                columns.append(per_cell.new_zeros(len(chunk), degree + 1).index_add_(0, cells.line, per_cell))
            parts.append(torch.cat(columns, 1))
        return torch.cat(parts)

    places = [first_edges()]
    for direction, at in edges:
        a = float(direction @ axis)
        places.append(at / a if abs(a) > 1e-9 else at[:0])
    if grid is not None:
        probed = torch.tensor(PROBED, dtype=axis.dtype)
        found = breaks(lambda line, s: g(torch.stack([s, probed[line]], 1) @ rotation), len(probed), _grid(grid))
        places.append(found.t)
    at = torch.cat(places)
    at = torch.unique(at[at.abs() <= FAR])
    first = torch.zeros(len(at) - 1, dtype=torch.long), at[:-1], at[1:]
    near = around(at, *DEEP)
    checks = None if grid is None else (torch.zeros_like(near, dtype=torch.long), near)
    outer = resolve(integrals, first, checks=checks, ends=True, tested=degree + 1, tolerance=ACROSS, least=LEAST)
    rows = []
    for i in range(degree + 1):
        value, error, size = (x.sum(0).split(degree + 1) for x in outer.integrals(i))
        # ∫ |s^i| error(s) φ(s) ds, with what is in doubt of it.
        rows.append(torch.stack([value[0], error[0] + size[1] + error[1], size[2] + error[2]]))
    return torch.stack(rows, 1)


def _along(f: Callable, s: Tensor, edges: Sequence, rotation: Tensor, grid: int | None) -> Cells:
    """Cells on lines."""
    base = _finer(first_edges()) if grid == GRID else first_edges()
    at = [base.expand(len(s), -1)]
    for direction, c in edges:
        a, b = (rotation @ direction).tolist()
        if abs(b) > 1e-12:
            at.append((c - a * s[:, None]) / b)
    hints = checks = None
    if grid is not None:
        found = breaks(f, len(s), _grid(grid))
        hints = found.line, found.t
        deep = around(hints[1], *DEEP)
        checks = hints[0].repeat_interleave(len(deep) // max(len(hints[0]), 1)), deep
    sides = torch.cat(at, 1).clamp(-FAR, FAR).sort(1).values
    line = torch.arange(len(s)).repeat_interleave(sides.shape[1] - 1)
    low, high = sides[:, :-1].flatten(), sides[:, 1:].flatten()
    wide = high > low
    return resolve(f, (line[wide], low[wide], high[wide]), hints, checks, grid is not None, density(s), least=LEAST)


def _finer(edges: Tensor) -> Tensor:
    inside = edges[edges.abs() <= NEAR]
    return torch.cat([edges, (inside[1:] + inside[:-1]) / 2]).sort().values


def _grid(points: int) -> Float[Tensor, " grid"]:
    """Increasing, closer and closer around 0."""
    wide = 9.0 * (2 * (torch.arange(points, dtype=torch.float64) + 2**0.5 - 1) / points - 1)
    return torch.cat([wide, around(torch.zeros(1, dtype=torch.float64), 16)]).sort().values
