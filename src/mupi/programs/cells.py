"""Integrals against the Gaussian density along lines: cells in which a function is a polynomial, and what it is not."""

from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.checks import fail
from mupi.programs.breaks import Lines

FINE, COARSE = 16, 10
"""Nodes in a cell of the rule, and of the one that it is compared with."""

FAR = 38.0
"""Where exp(−t²/2) ends in double precision."""

TOLERANCE = 1e-13
"""Of the integral of the absolute value: a cell in which more is in doubt is halved."""

MOST = 1 << 15
"""Cells on a line, or 64 on each of many; in a function that needs more, what is still in doubt is its error."""

INSIDE = 1e-6
"""Of a cell's width: how far from its ends it is looked at, where no node comes and a kink would not be seen."""

Points = tuple[Int[Tensor, " points"], Float[Tensor, " points"]]
"""Numbers of lines, and t on them."""


@dataclass(frozen=True)
class Cells:
    """Cells on lines, and a function there.

    Attributes:
        line: Numbers of their lines.
        low: The lower end of each cell.
        high: The upper end of each cell.
        fine: Values at Gauss–Legendre nodes.
        coarse: At those of the coarser rule.
        doubt: Bound of ∫ |f − p| φ over each cell from all points tried, for the polynomial p through the fine nodes.
    """

    line: Int[Tensor, " cells"]
    low: Float[Tensor, " cells"]
    high: Float[Tensor, " cells"]
    fine: Float[Tensor, "cells fine k"]
    coarse: Float[Tensor, "cells coarse k"]
    doubt: Float[Tensor, " cells"]

    def integrals(
        self, power: int
    ) -> tuple[Float[Tensor, "cells k"], Float[Tensor, "cells k"], Float[Tensor, "cells k"]]:
        """∫ t^power f φ dt over each cell, a bound of its error, and ∫ |t^power f| φ dt."""
        both = [(self.fine, FINE), (self.coarse, COARSE)]
        rules = [x * (w * t**power)[:, :, None] for x, n in both for t, w in [weighted(self.low, self.high, n)]]
        sizes = rules[0].abs().sum(1)
        rounding = 32 * torch.finfo(self.fine.dtype).eps * sizes + self.misplaced(power)
        doubt = (self.doubt * self._farthest**power)[:, None]
        return rules[0].sum(1), (rules[0].sum(1) - rules[1].sum(1)).abs() + doubt + rounding, sizes

    def misplaced(self, power: int) -> Float[Tensor, "cells k"]:
        """A bound of what ∫ t^power f φ dt owes to the rounding of both ends of each cell."""
        t, w = weighted(self.low, self.high, FINE)
        largest = (self.fine * (w * t**power)[:, :, None]).abs().amax(1)
        # Both ends of a cell are known to a few digits less than all.
        ends = self._farthest.clamp_min(1) / (self.high - self.low)
        return 64 * torch.finfo(self.fine.dtype).eps * ends[:, None] * largest

    @property
    def _farthest(self) -> Float[Tensor, " cells"]:
        """From 0, in each cell."""
        return torch.maximum(self.low.abs(), self.high.abs())


def density(t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """φ(t) of N(0, 1)."""
    return torch.exp(-t.square() / 2) / (2 * pi) ** 0.5


def weighted(low: Float[Tensor, " cells"], high: Float[Tensor, " cells"], n: int) -> tuple[Tensor, Tensor]:
    """Nodes in each cell, and weights times φ."""
    x, w = legendre(n)
    half = (high - low)[:, None] / 2
    t = low[:, None] + half * (x + 1)
    return t, half * w * density(t)


def resolve(
    f: Lines,
    start: tuple[Int[Tensor, " cells"], Float[Tensor, " cells"], Float[Tensor, " cells"]],
    hints: Points | None = None,
    checks: tuple[Int[Tensor, " checks"], Float[Tensor, " checks"]] | None = None,
    ends: bool = False,
    weight: Float[Tensor, " lines"] | None = None,
    tested: int | None = None,
    tolerance: float = TOLERANCE,
    least: float = 0.0,
    rounds: int = 1000,
) -> Cells:
    """Halve cells until f is a polynomial in each, as far as can be seen.

    Seen is the polynomial through the fine nodes against f at the coarse ones and at the points to check.

    Args:
        f: On lines; k numbers for each point.
        start: Lines, beginnings and ends of the first cells.
        hints: Where a cell is to be cut first, if it is to be cut.
        checks: More points at which the polynomial must agree.
        ends: Whether it must at both ends of every cell, too.
        weight: Of each line, in how much an error on it counts; None for 1.
        tested: How many of the k numbers must be resolved; None for all.
        tolerance: Of the integral of the absolute value.
        least: In itself: cells in which less is in doubt are not halved.
        rounds: How often a cell is halved at most.

    Raises:
        ValueError: If f is not finite.
    """
    line, low, high = start
    weight = torch.ones(int(line.max()) + 1, dtype=low.dtype) if weight is None else weight
    hint, check = (_Scattered.over(p, start) for p in (hints, checks))
    if check is not None:
        check.values = f(check.line, check.t)
    done: list[Cells] = []
    scale, room = torch.zeros((), dtype=low.dtype), MOST + 64 * len(weight)
    while len(line):
        cells = _cells(f, line, low, high, check, ends, tested)
        sizes = weight[line, None] * cells.integrals(0)[2][:, :tested]
        totals = torch.zeros(len(weight), sizes.shape[1], dtype=low.dtype).index_add_(0, line, sizes)
        scale = torch.maximum(scale, totals.amax())
        middle = (low + high) / 2
        cut = middle if hint is None else hint.nearest(middle, low, high)
        smallest = 4 * torch.finfo(low.dtype).eps * torch.maximum(low.abs(), high.abs())
        bad = (weight[line] * cells.doubt > (tolerance * scale).clamp_min(least)) & (high - low > smallest + 1e-30)
        bad &= (cut > low) & (cut < high)
        room -= int(bad.sum())
        rounds -= 1
        bad &= torch.tensor(room >= 0 and rounds >= 0)
        keep = ~bad
        done.append(Cells(*(x[keep] for x in (line, low, high, cells.fine, cells.coarse, cells.doubt))))
        for points in (hint, check):
            if points is not None:
                points.cut(bad, cut)
        line = line[bad].repeat(2)
        low, high = torch.cat([low[bad], cut[bad]]), torch.cat([cut[bad], high[bad]])
    return Cells(*(torch.cat([getattr(c, name) for c in done]) for name in Cells.__dataclass_fields__))


def _cells(
    f: Lines,
    line: Tensor,
    low: Tensor,
    high: Tensor,
    check: "_Scattered | None",
    ends: bool,
    tested: int | None,
) -> Cells:
    """Evaluate f in cells, and compare."""

    def at(t: Float[Tensor, "cells n"]) -> Float[Tensor, "cells n k"]:
        return f(line.repeat_interleave(t.shape[1]), t.flatten()).reshape(*t.shape, -1)

    fine, coarse = (at(weighted(low, high, n)[0]) for n in (FINE, COARSE))
    if not (torch.isfinite(fine).all() and torch.isfinite(coarse).all()):
        fail("limit()", "of functions that are finite", "NaN or infinity", "restrict the argument, or clamp it")
    compared = [(legendre(COARSE)[0], coarse)]
    if ends:
        x = torch.tensor([INSIDE - 1, 1 - INSIDE], dtype=low.dtype)
        compared.append((x, at(torch.lerp(low[:, None], high[:, None], (x + 1) / 2))))
    doubt = torch.zeros_like(low)
    for x, values in compared:
        t = low[:, None] + (high - low)[:, None] / 2 * (x + 1)
        off = torch.einsum("cf,bfk->bck", _through_fine(x), fine) - values
        doubt = torch.maximum(doubt, (off[..., :tested].abs().amax(2) * density(t)).amax(1))
    if check is not None and len(check.t):
        x = 2 * (check.t - low[check.cell]) / (high - low)[check.cell] - 1
        off = torch.einsum("pf,pfk->pk", _through_fine(x), fine[check.cell]) - check.values.reshape(len(x), -1)
        off = off[:, :tested].abs().amax(1) * density(check.t)
        doubt = doubt.scatter_reduce(0, check.cell, off.nan_to_num(nan=float("inf")), "amax")
    return Cells(line, low, high, fine, coarse, doubt * (high - low))


class _Scattered:
    """Points in the cells that are still at work.

    Attributes:
        line: Numbers of their lines.
        t: Coordinate of each point along its line.
        cell: Number of the cell that each point is in.
        values: Values of the function at the points.
    """

    def __init__(self, line: Tensor, t: Tensor, cell: Tensor):
        self.line, self.t, self.cell = line, t, cell
        self.values = t[:, None]

    @classmethod
    def over(cls, points: Points | None, start: tuple[Tensor, Tensor, Tensor]) -> "_Scattered | None":
        """Points with the first cells that they are in; the others are dropped. Cells are in order."""
        if points is None:
            return None
        line, t = points
        shift = 4 * FAR  # a number for line and t; that it is coarse does no harm at the first, wide cells' ends
        cell = torch.searchsorted(start[0] * shift + start[1], line * shift + t, right=True) - 1
        cell = cell.clamp_min(0)
        inside = (start[0][cell] == line) & (start[1][cell] < t) & (t < start[2][cell])
        return cls(line[inside], t[inside], cell[inside])

    def nearest(self, middle: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Of each cell the point that is nearest to its middle; the middle, if it has none."""
        if not len(self.t):
            return middle
        away = (self.t - middle[self.cell]).abs()
        least = torch.full_like(middle, float("inf")).scatter_reduce(0, self.cell, away, "amin")
        chosen = away == least[self.cell]
        return middle.scatter(0, self.cell[chosen], self.t[chosen])

    def cut(self, bad: Tensor, at: Tensor) -> None:
        """Cells are cut, and those that are not bad are done."""
        place = torch.cumsum(bad, 0) - 1
        left = self.t < at[self.cell]
        # A point where a cell is cut is in neither part.
        kept = bad[self.cell] & (self.t != at[self.cell])
        cell = place[self.cell] + torch.where(left, 0, int(bad.sum()))
        self.line, self.t, self.values, self.cell = (x[kept] for x in (self.line, self.t, self.values, cell))


def _through_fine(x: Float[Tensor, " points"]) -> Float[Tensor, "points fine"]:
    """Rows that take values at the fine nodes to those of their polynomial at x in [−1, 1] (barycentric)."""
    nodes, _ = legendre(FINE)
    differences = x[:, None] - nodes
    exact = differences == 0
    terms = _barycentric() / torch.where(exact, 1.0, differences)
    rows = terms / terms.sum(1, keepdim=True)
    return torch.where(exact.any(1, keepdim=True), exact.to(x.dtype), rows)


@cache
def _barycentric() -> Float[Tensor, " fine"]:
    nodes, weights = legendre(FINE)
    signs = (-1.0) ** torch.arange(FINE, dtype=nodes.dtype)
    return signs * ((1 - nodes.square()) * weights).sqrt()


@cache
def legendre(nodes: int) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Gauss–Legendre on [−1, 1]."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy(t), torch.from_numpy(w)
