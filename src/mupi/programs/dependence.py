"""What a function depends on, found by trying."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.programs.seen import Seen
from mupi.programs.symbols import Symbols

TRIED = 1536
"""Points at which functions are tried for what they depend on."""

RADII = (1.0, 0.1, 2.0, 0.01, 3.0, 0.5, 5.0, 1e-3, 8.0, 1.5, 12.0, 24.0)
"""Of these points, in standard deviations: the radii of `mupi.programs.probe`, and small ones."""


def points_to_try(leaves: int, dtype: torch.dtype) -> Float[Tensor, "points leaves"]:
    """Gaussians of many radii."""
    z = torch.randn(TRIED, leaves, generator=torch.Generator().manual_seed(0), dtype=dtype)
    radii = torch.tensor(RADII, dtype=dtype)
    return z * radii[torch.arange(TRIED) % len(radii), None]


def dependence(f: Callable, args: list, trial: list) -> list[list[tuple[Symbols, int]]]:
    """For each output column, the argument columns that it changes with, found by trying.

    Each argument is replaced by others that it also takes: those at other points, near ones, and its negative. If no
    output changes at any of them, out to 24 standard deviations, an intermediate result may: a function that is
    constant but for a narrow window. Dependence is then taken for granted, of the column of the same number or of all.

    Args:
        f: The function whose dependence is asked for.
        args: The arguments of the function.
        trial: Their values at Gaussians of many radii.
    """
    with Seen(len(next(x for x in trial if isinstance(x, Tensor)))) as before:
        start = f(*trial)
    depends: list[list[tuple[Symbols, int]]] = [[] for _ in range(start.shape[1])]
    for place, x in enumerate(args):
        for i in range(len(x.columns)) if isinstance(x, Symbols) else ():
            column = trial[place][:, i]
            differs = inside = torch.zeros(start.shape[1], dtype=torch.bool)
            for other in (column.roll(1), column.roll(len(RADII)), -column, column + column.roll(len(RADII) // 2) / 64):
                changed = list(trial)
                changed[place] = trial[place].clone()
                changed[place][:, i] = other
                with Seen(len(start)) as after:
                    differs = differs | (f(*changed) != start).any(0)
                for key in before.results.keys() & after.results.keys():
                    was, now = before.results[key], after.results[key]
                    moved = (was != now).any(0) if was.shape == now.shape else torch.ones(1, dtype=torch.bool)
                    inside = inside | (moved if len(moved) == len(inside) else moved.any())
            for j in torch.nonzero(differs if differs.any() else inside)[:, 0].tolist():
                depends[j].append((x, i))
    return depends
