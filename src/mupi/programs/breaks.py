"""Where a function of one number may have a kink or a jump, seen in what it computes on its way."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Lines = Callable[[Int[Tensor, " points"], Float[Tensor, " points"]], Float[Tensor, "points ..."]]
"""A function of t on each of several lines, given the line's number and t."""

MOST = 4096
"""Breaks on a line that are looked for; a function with more is left to bisection, which gives up in time."""

SECTIONS, FEW = 128, 200
"""Into which an interval with a break is divided, again and again; if there are more than a few, it is halved."""

POINTS = 1 << 18
"""Evaluated at once, with all that is computed on the way."""


def breaks(f: Lines, lines: int, grid: Float[Tensor, " grid"]) -> tuple[Int[Tensor, " found"], Float[Tensor, " found"]]:
    """Numbers of the lines, and t on them, where an intermediate result changes its sign, a condition or an integer.

    A window such as 1(a < x)·1(x < b) is invisible between the grid's points if it is narrow, and the two conditions
    are not: each holds on one side of its break up to the end. So all results of torch operations are looked at, on a
    grid, and each change is followed to the last digit.

    Args:
        f: Of torch operations (of others only the result is seen).
        lines: How many lines are looked along.
        grid: Places t along a line, increasing.
    """
    found = [_breaks(f, chunk, grid) for chunk in torch.arange(lines).split(max(1, POINTS // len(grid)))]
    return torch.cat([line for line, _ in found]), torch.cat([t for _, t in found])


def _breaks(f: Lines, lines: Int[Tensor, " lines"], grid: Float[Tensor, " grid"]) -> tuple[Tensor, Tensor]:
    seen = _watch(f, lines.repeat_interleave(len(grid)), grid.repeat(len(lines)))
    none = lines[:0], grid[:0]
    if not seen:
        return none
    results = torch.cat(seen, 1)
    width, chosen = results.shape[1], _distinct(results)
    results = results[:, chosen]
    kinds = _Kinds(results)
    labels = kinds.label(results, slice(None)).reshape(len(lines), len(grid), -1)
    line, left, column = torch.nonzero(labels[:, 1:] != labels[:, :-1], as_tuple=True)
    if len(line) == 0 or len(line) > MOST * len(lines):
        return none
    low, high, at_low = grid[left], grid[left + 1], labels[line, left, column]
    sections = torch.linspace(0, 1, (SECTIONS if len(line) <= FEW else 2) + 1, dtype=grid.dtype)
    while ((high - low) > 2 * torch.finfo(low.dtype).eps * high.abs() + 1e-18).any():
        t = torch.lerp(low[:, None], high[:, None], sections)
        inner = t[:, 1:-1]
        seen = _watch(f, lines[line].repeat_interleave(inner.shape[1]), inner.flatten())
        results = torch.cat(seen, 1)
        if results.shape[1] != width:
            return none
        columns = column.repeat_interleave(inner.shape[1])
        results = results.gather(1, chosen[columns][:, None])[:, 0]
        now = kinds.label(results, columns).reshape(inner.shape)
        changed = torch.nn.functional.pad(now != at_low[:, None], (0, 1), value=True)
        first = changed.double().argmax(1, keepdim=True)
        low, high = t.gather(1, first)[:, 0], t.gather(1, first + 1)[:, 0]
    # What is computed from one break on changes there, too, often by several operations.
    key = torch.unique(torch.stack([lines[line].double(), high], 1), dim=0)
    return key[:, 0].long(), key[:, 1].contiguous()


def _distinct(results: Float[Tensor, "points columns"]) -> Int[Tensor, " some"]:
    """One of the columns of each kind of equal ones: most operations hand on what they got."""
    weights = torch.rand(len(results), generator=torch.Generator().manual_seed(0), dtype=results.dtype)
    sums = (weights @ results.nan_to_num()).tolist()
    return torch.tensor(sorted({total: i for i, total in reversed(list(enumerate(sums)))}.values()))


def _watch(f: Lines, line: Int[Tensor, " points"], t: Float[Tensor, " points"]) -> list[Tensor]:
    with Seen(len(t)) as seen:
        f(line, t)
    return seen.results


class Seen(TorchDispatchMode):
    """Keeps all results of torch operations that have a row for each point.

    Args:
        points: How many points are looked at.
    """

    def __init__(self, points: int):
        super().__init__()
        self.points = points
        self.results: list[Float[Tensor, "points columns"]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation, and keep a copy: another may change it in place."""
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            # What is empty has any values.
            if isinstance(x, Tensor) and x.ndim and len(x) == self.points and "empty" not in func.__name__:
                self.results.append(x.detach().reshape(len(x), -1).to(torch.float64, copy=True))
        return result


class _Kinds:
    """How the columns of results are told apart: integers by their value, others by their sign and at their bounds.

    Args:
        results: The function's values on a grid.
    """

    def __init__(self, results: Float[Tensor, "points columns"]):
        self.whole = (results == results.round()).all(0)
        self.most, self.least = results.amax(0), results.amin(0)

    def label(self, results: Float[Tensor, "..."], columns: slice | Int[Tensor, " points"]) -> Float[Tensor, "..."]:
        """Equal where nothing has happened in between."""
        whole, most, least = (x[columns] for x in (self.whole, self.most, self.least))
        side = torch.sign(results) + 3.0 * (results >= most) - 9.0 * (results <= least)
        return torch.where(whole, results, side).nan_to_num(nan=0.5, posinf=0.25, neginf=-0.25)
