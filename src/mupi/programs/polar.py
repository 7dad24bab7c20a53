"""A fixed rule for N(0, I_r), r ≤ 2: for functions that are smooth but for kinks on lines through the origin."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.programs.cells import legendre

RADIUS = 11.0
"""Beyond it the Gaussian measure is below 1e-26."""

FINE, COARSE = (80, 30), (60, 22)
"""Nodes along a radius, and in each sector between two rays."""


def polar(basis: Tensor, kinks: Float[Tensor, "kinks r"], radial: int, angular: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for N(0, I_r), r ≤ 2, without a node's neighbourhood across a line where a kink may be."""
    if len(basis) == 0:
        return basis.new_zeros(1, 0), basis.new_ones(1)
    t, w = legendre(radial)
    r, w = RADIUS * (t + 1) / 2, RADIUS / 2 * w
    if len(basis) == 1:
        density = w * torch.exp(-r.square() / 2) / (2 * pi) ** 0.5
        return torch.cat([-r, r])[:, None], torch.cat([density, density])
    angles = torch.atan2(kinks[:, 1], kinks[:, 0]) + pi / 2 if len(kinks) else basis.new_zeros(1)
    rays = torch.cat([angles, angles + pi, angles + pi / 2, angles - pi / 2]).remainder(2 * pi).sort().values
    rays = torch.cat([rays[:1], rays[1:][rays.diff() > 1e-12]])
    edges = torch.cat([rays, rays[:1] + 2 * pi])
    t, v = legendre(angular)
    half = edges.diff()[:, None] / 2
    θ, v = (edges[:-1, None] + half * (t + 1)).flatten(), (half * v).flatten()
    nodes = torch.stack([torch.outer(r, θ.cos()), torch.outer(r, θ.sin())], -1).reshape(-1, 2)
    return nodes, torch.outer(w * r * torch.exp(-r.square() / 2), v / (2 * pi)).flatten()
