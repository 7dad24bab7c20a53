"""Composite Gauss–Legendre rules for E f(sz), z ~ N(0, 1), with panels where f varies; a row for each scale s."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.function_check import slope_of

Function = Callable[[Tensor], Tensor]

RADIUS = 12.0
"""Beyond it the Gaussian measure is below 1e-32."""

FINE, COARSE = 16, 11
"""Nodes of a panel; the difference of the two rules is their error."""

MOST_BREAKS = 400


def breaks_of(function: Function, reach: float) -> Float[Tensor, " breaks"]:
    """Places in [−reach, reach] between which the slope of a function changes by about a quarter of its size."""
    # Offset, for a grid point on a kink would hide it.
    near, far = min(20.0, reach), reach
    grids = [torch.linspace(-r, r, 8001, dtype=torch.float64) + 1e-5 * r for r in (1e-2 * near, near, far)]
    x = torch.cat(grids).unique()
    slope = slope_of(function)(x)
    finite = torch.isfinite(slope)
    x, slope = x[finite], slope[finite]
    if len(x) < 2:
        return x
    floor = 1e-3 * slope[x.abs() <= near].abs().amax() + 1e-30
    variation = torch.cat(
        [x.new_zeros(1), (slope.diff().abs() / (slope[1:].abs() + slope[:-1].abs() + floor)).cumsum(0)]
    )
    count = min(MOST_BREAKS, int(4 * variation[-1]) + 8)
    at = torch.linspace(0, float(variation[-1]), count, dtype=torch.float64)
    return x[torch.searchsorted(variation, at).clamp_max(len(x) - 1)]


def panel_rule(
    scale: Float[Tensor, " n"], breaks: Float[Tensor, " breaks"], nodes: int
) -> tuple[Float[Tensor, "n points"], Float[Tensor, "n points"]]:
    """Nodes z and weights, the Gaussian density among them, with panel edges at every unit and at the breaks."""
    grid = torch.linspace(-RADIUS, RADIUS, 25, dtype=torch.float64, device=scale.device)
    own = (breaks.to(scale.device) / scale[:, None].clamp_min(1e-150)).clamp(-RADIUS, RADIUS)
    edges = torch.cat([grid.expand(len(scale), -1), own], 1).sort(1).values
    t, w = (v.to(scale.device) for v in legendre(nodes))
    half = edges.diff(dim=1)[..., None] / 2
    z = (edges[:, :-1, None] + half * (1 + t)).flatten(1)
    return z, (half * w).flatten(1) * torch.exp(-z.square() / 2) / (2 * np.pi) ** 0.5


@cache
def legendre(nodes: int) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Gauss–Legendre on [−1, 1]."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy(t), torch.from_numpy(w)
