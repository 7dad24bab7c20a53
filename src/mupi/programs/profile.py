"""Functions along one direction: their breaks found, cut into cells where they are polynomials."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.checks import fail
from mupi.programs.breaks import Lines, breaks
from mupi.programs.cells import FAR, TOLERANCE, Cells, density, resolve

NEAR = 12.0
"""What is beyond it counts only for functions that grow exponentially."""

EDGES = (0.0, 1.4731, 2.9173, 4.8391, 7.8713, NEAR, FAR)
"""Of the first cells, with their negatives: no round numbers, where functions like to break unseen."""

GRID, TAIL = 8192, 128
"""Points tried in (−NEAR, NEAR), and beyond it on either side."""

DEPTH = 50
"""Around 0 and around every break points are tried at distances 1/2, …, 2^−DEPTH."""

HALVED = 4
"""How often the first cells are halved before a function counts as one with breaks, which are then used."""


@dataclass(frozen=True)
class Profile:
    """A function of one N(0, 1), resolved.

    Attributes:
        cells: Where it is a polynomial, from one end to the other.
        finest: Width of the smallest cell, if it is smooth but for 0; else 0.
        seen: Whether all that changes on the way was followed, so that errors are bounds.
    """

    cells: Cells
    finest: float
    seen: bool

    @property
    def edges(self) -> Float[Tensor, " edges"]:
        """Of the cells, in order."""
        return torch.cat([self.cells.low, self.cells.high[-1:]])


def profile(f: Lines) -> Profile:
    """Resolve a function on one line.

    Raises:
        ValueError: If it is not finite where the Gaussian measure is above 1e-32.
    """
    grid = points_to_try()
    values = f(torch.zeros_like(grid, dtype=torch.long), grid).reshape(len(grid), -1)
    # Beyond the last finite value, exp(t …) has overflowed: cut off, if what it is there counts for nothing.
    wild = grid.abs()[~torch.isfinite(values).all(1)]
    if len(wild) and wild.min() < NEAR:
        got = f"NaN or infinity {float(wild.min()):.3g} standard deviations from the mean"
        fail("limit()", "of functions that are finite", got, "restrict the argument, or clamp it")
    end = FAR if not len(wild) else float(grid.abs()[grid.abs() < wild.min()].max())
    grid = grid[grid.abs() <= end]
    looked = breaks(f, 1, grid, extrema=True)
    found = looked.t
    edges = first_edges(end)
    line = torch.zeros(len(edges) - 1, dtype=torch.long)
    start = line, edges[:-1], edges[1:]
    tried = torch.cat([grid, around(found, DEPTH, 1 + DEPTH * len(found) // GRID)])
    checks = _on_the_line(tried)
    cells = resolve(f, start, checks=checks, rounds=HALVED)
    near = (cells.low > -8) & (cells.high < 8)
    finest = float((cells.high - cells.low)[near].min())
    if (cells.doubt > 2 * TOLERANCE * cells.integrals(0)[2].sum()).any():
        cells, finest = resolve(f, start, hints=_on_the_line(found), checks=checks), 0.0
    order = cells.low.argsort()
    cells = Cells(*(getattr(cells, name)[order] for name in Cells.__dataclass_fields__))
    if end < FAR:
        _, _, sizes = cells.integrals(0)
        outermost = (cells.fine[[0, -1]].abs().amax((1, 2)) * density(torch.tensor(end, dtype=grid.dtype))).sum()
        if not outermost <= 1e-16 * sizes.sum():
            got = f"infinity {end:.3g} standard deviations from the mean, where it still counts"
            fail("limit()", "of functions with finite moments", got, "use limit(samples=...)")
    return Profile(cells, finest, looked.complete)


def first_edges(end: float = FAR) -> Float[Tensor, " edges"]:
    """Of the first cells on a line."""
    one_side = torch.tensor([e for e in EDGES if e < end] + [end], dtype=torch.float64)
    return torch.cat([-one_side.flip(0), one_side[1:]])


def points_to_try() -> Float[Tensor, " grid"]:
    """Increasing: in (−NEAR, NEAR) at irregular distances, closer and closer around 0, and some beyond."""
    # An irrational shift: no point is at a round number, where functions like to break.
    shift = 2**0.5 - 1
    near = NEAR * (2 * (torch.arange(GRID, dtype=torch.float64) + shift) / GRID - 1)
    tail = NEAR + (FAR - NEAR) * (torch.arange(TAIL, dtype=torch.float64) + shift) / TAIL
    return torch.cat([near, tail, -tail, around(torch.zeros(1, dtype=torch.float64), DEPTH)]).sort().values


def around(t: Float[Tensor, " breaks"], depth: int, step: int = 1) -> Float[Tensor, " points"]:
    """Points on both sides of each, closer and closer."""
    away = 0.9 * 2.0 ** -torch.arange(1, depth + 1, step, dtype=t.dtype)
    return (t[:, None] + torch.cat([-away, away])).flatten()


def _on_the_line(t: Float[Tensor, " points"]) -> tuple[Int[Tensor, " points"], Float[Tensor, " points"]]:
    return torch.zeros_like(t, dtype=torch.long), t
