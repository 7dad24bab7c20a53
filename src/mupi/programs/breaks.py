"""Where a function of one number may have a kink or a jump, seen in what it computes on its way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mupi.programs.seen import Seen

Lines = Callable[[Int[Tensor, " points"], Float[Tensor, " points"]], Float[Tensor, "points ..."]]
"""A function of t on each of several lines, given the line's number and t."""

MOST = 4096
"""Changes of one result along a line that are followed; what changes more often is not seen, which is said."""

SECTIONS, FEW = 128, 200
"""Into which an interval with a break is divided, again and again; if there are more than a few, it is halved."""

FINER = 16
"""Into which an interval with an extremum is divided, if there are more than a few."""

FLAT = 1e-13
"""Of the largest value: an extremum that stands out by less is rounding."""

CLOSE = 1e-8
"""How far an extremum is followed, and several changes of one result: what is computed does not tell more."""

POINTS = 1 << 18
"""Evaluated at once, with all that is computed on the way."""

PADDED = 1013
"""Points are evaluated at least so many at once: an axis of a table of the function's own has another length."""


@dataclass(frozen=True)
class Breaks:
    """Places on lines where a function may break.

    Attributes:
        line: Numbers of the lines.
        t: Coordinates along them.
        complete: Whether all that changed was followed.
    """

    line: Int[Tensor, " found"]
    t: Float[Tensor, " found"]
    complete: bool = True

    @staticmethod
    def join(parts: Sequence["Breaks"]) -> "Breaks":
        """All of them."""
        line, t = torch.cat([p.line for p in parts]), torch.cat([p.t for p in parts])
        return Breaks(line, t, all(p.complete for p in parts))


def breaks(f: Lines, lines: int, grid: Float[Tensor, " grid"], extrema: bool = False) -> Breaks:
    """Where an intermediate result changes its sign, a condition or an integer, and if asked for is extreme.

    A window such as 1(a < x)·1(x < b) is invisible between the grid's points if it is narrow, and the two conditions
    are not: each holds on one side of its break up to the end. So all results of torch operations are looked at, on a
    grid, and each change is followed to the last digit. One such as 1(cos(x) > c) stands where cos has its maximum.

    Args:
        f: Of torch operations (of others only the result is seen).
        lines: How many lines are looked along.
        grid: Places t along a line, increasing.
        extrema: Whether local maxima and minima are followed, too.
    """
    return Breaks.join(
        [_breaks(f, chunk, grid, extrema) for chunk in torch.arange(lines).split(max(1, POINTS // len(grid)))]
    )


def _breaks(f: Lines, lines: Int[Tensor, " lines"], grid: Float[Tensor, " grid"], extrema: bool) -> Breaks:
    watched = _Watched(f, lines.repeat_interleave(len(grid)), grid.repeat(len(lines)))
    on_grid = watched.start.reshape(len(lines), len(grid), watched.start.shape[1])
    labels = watched.label(watched.start).reshape(on_grid.shape)
    changed = labels[:, 1:] != labels[:, :-1]
    followed = changed.sum((0, 1)) <= MOST * len(lines)
    line, left = torch.nonzero(changed[:, :, followed].any(2), as_tuple=True)
    line, low, high = lines[line], grid[left], grid[left + 1]
    complete = bool(followed.all())
    extreme = _extrema(watched, on_grid, lines, grid) if extrema else None
    if extreme is not None and len(extreme.t):
        # Beside an extremum something may change and change back.
        sides = torch.searchsorted(grid, extreme.t)
        line = torch.cat([line, extreme.line, extreme.line])
        low = torch.cat([low, grid[(sides - 1).clamp_min(0)], extreme.t])
        high = torch.cat([high, extreme.t, grid[sides.clamp_max(len(grid) - 1)]])
    found = _follow(watched, followed, line, low, high)
    return Breaks.join([found, Breaks(lines[:0], grid[:0], complete), *([extreme] if extreme is not None else [])])


def _follow(
    watched: "_Watched",
    followed: Bool[Tensor, " columns"],
    line: Int[Tensor, " intervals"],
    low: Float[Tensor, " intervals"],
    high: Float[Tensor, " intervals"],
) -> Breaks:
    """Divide intervals with changes until they are as narrow as numbers are; where there are several, keep all."""
    most = MOST + len(line)
    at_low, at_high = (watched(line, t) for t in (low, high))
    if at_low is None or at_high is None:
        return Breaks(line, high, complete=False)
    at_low, at_high = watched.label(at_low), watched.label(at_high)
    different = (at_low != at_high)[:, followed].any(1)
    line, low, high, at_low, at_high = (x[different] for x in (line, low, high, at_low, at_high))
    while ((high - low) > 2 * torch.finfo(low.dtype).eps * high.abs() + 1e-18).any():
        sections = torch.linspace(0, 1, (SECTIONS if len(line) <= FEW else 2) + 1, dtype=low.dtype)
        t = torch.lerp(low[:, None], high[:, None], sections)
        inner = t[:, 1:-1]
        results = watched(line.repeat_interleave(inner.shape[1]), inner.flatten())
        if results is None:
            return Breaks(line, high, complete=False)
        between = watched.label(results).reshape(*inner.shape, -1)
        labels = torch.cat([at_low[:, None], between, at_high[:, None]], 1)
        changed = (labels[:, 1:] != labels[:, :-1])[:, :, followed]
        first = changed.cumsum(1) == 1
        # Many changes of one result close together are rounding, as around a zero: the first will do.
        narrow = (high - low) < CLOSE * (1 + high.abs())
        chosen = (changed & (first | ~narrow[:, None, None])).any(2)
        if int(chosen.sum()) > most:
            chosen = (changed & first).any(2)
        interval, place = torch.nonzero(chosen, as_tuple=True)
        line, low, high = line[interval], t[interval, place], t[interval, place + 1]
        at_low, at_high = labels[interval, place], labels[interval, place + 1]
    return Breaks(*_different(line, high))


def _extrema(
    watched: "_Watched",
    on_grid: Float[Tensor, "lines grid columns"],
    lines: Int[Tensor, " lines"],
    grid: Float[Tensor, " grid"],
) -> Breaks:
    """Follow local maxima and minima."""
    left, middle, right = on_grid[:, :-2], on_grid[:, 1:-1], on_grid[:, 2:]
    top, bottom = torch.maximum(left, right), torch.minimum(left, right)
    enough = FLAT * on_grid.abs().nan_to_num(0.0, 0.0).amax((0, 1))
    upwards = middle > top + enough
    at = (upwards | (middle < bottom - enough)) & ~watched.whole
    followed = at.sum((0, 1)) <= MOST * len(lines)
    line, place, column = torch.nonzero(at & followed, as_tuple=True)
    sign = torch.where(upwards[line, place, column], 1.0, -1.0)
    low, extreme, high, line = grid[place], grid[place + 1], grid[place + 2], lines[line]
    while len(line) and ((high - low) > CLOSE * (1 + high.abs())).any():
        sections = torch.linspace(0, 1, (SECTIONS if len(line) <= FEW else FINER) + 1, dtype=low.dtype)
        t = torch.lerp(low[:, None], high[:, None], sections)
        results = watched(line.repeat_interleave(t.shape[1]), t.flatten())
        if results is None:
            return Breaks(line, extreme, complete=False)
        own = results.reshape(*t.shape, -1).gather(2, column[:, None, None].expand(-1, t.shape[1], 1))[:, :, 0]
        best = (sign[:, None] * own).nan_to_num(-torch.inf).argmax(1, keepdim=True).clamp(1, t.shape[1] - 2)
        low, extreme, high = (t.gather(1, best + side)[:, 0] for side in (-1, 0, 1))
    return Breaks(*_different(line, extreme), complete=bool(followed.all()))


def _different(line: Int[Tensor, " found"], t: Float[Tensor, " found"]) -> tuple[Tensor, Tensor]:
    """What is computed from one break on changes there, too, often by several operations."""
    key = torch.unique(torch.stack([line.double(), t], 1), dim=0)
    return key[:, 0].long(), key[:, 1].contiguous()


class _Watched:
    """What a function computes on its way, told apart: integers by their value, others by their sign and at bounds.

    Attributes:
        start: Results on a grid.
        whole: Columns of integers.

    Args:
        f: On lines.
        line: Numbers of the lines, of points of the grid.
        t: Coordinates of points of the grid.
    """

    def __init__(self, f: Lines, line: Int[Tensor, " points"], t: Float[Tensor, " points"]):
        self.f = f
        seen, count = self._seen(line, t)
        self.operations, self.keys = seen.operations, {key: x.shape[1] for key, x in seen.results.items()}
        self.start = torch.cat([t.new_zeros(len(t), 0), *(x[:count] for x in seen.results.values())], 1)
        self.whole = (self.start == self.start.round()).all(0)
        self.most, self.least = self.start.amax(0), self.start.amin(0)

    def __call__(self, line: Int[Tensor, " points"], t: Float[Tensor, " points"]) -> Float[Tensor, "points _"] | None:
        """The same results elsewhere; None if others are computed there."""
        seen, count = self._seen(line, t)
        columns = [seen.results.get(key) for key in self.keys]
        widths = [None if x is None else x.shape[1] for x in columns]
        if seen.operations != self.operations or widths != list(self.keys.values()):
            return None
        return torch.cat([t.new_zeros(len(t), 0), *(x[:count] for x in columns if x is not None)], 1)

    def label(self, results: Float[Tensor, "points columns"]) -> Float[Tensor, "points columns"]:
        """Equal where nothing has happened in between."""
        side = torch.sign(results) + 3.0 * (results >= self.most) - 9.0 * (results <= self.least)
        # What is whole on a grid need not be in between.
        whole = self.whole & (results == results.round())
        return torch.where(whole, results, side).nan_to_num(nan=0.5, posinf=0.25, neginf=-0.25)

    def _seen(self, line: Int[Tensor, " points"], t: Float[Tensor, " points"]) -> tuple[Seen, int]:
        count = len(t)
        # An odd number of points, which tables seldom have.
        more = (max(count, PADDED) | 1) - count
        line, t = (torch.cat([x, x[-1:].expand(more)]) if count else x.new_zeros(more) for x in (line, t))
        with Seen(len(t)) as seen:
            self.f(line, t)
        return seen, count
