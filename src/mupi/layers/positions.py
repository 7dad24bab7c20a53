"""Kernels of vectors at several positions, from kernels of matrices with a vector in each row."""

from collections.abc import Callable
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.features import Neuron, dual_within

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, k) and (m, k) to (n, m)."""

KERNEL_ENTRIES = 2**22
"""Pairs of positions that `averaged` and `averaged_diagonal` hold at a time."""


def pairwise(kernel: Kernel, u1: Float[Tensor, "*batch1 k"], u2: Float[Tensor, "*batch2 k"]) -> Float[Tensor, "*pairs"]:
    """k between all vectors of the one and all of the other, of shape (*batch1, *batch2)."""
    if u1.ndim == u2.ndim == 2:
        return kernel(u1, u2)
    # Sizes are given, since −1 cannot be found where there is no entry.
    rows1, rows2 = (u.reshape(prod(u.shape[:-1]), u.shape[-1]) for u in (u1, u2))
    return kernel(rows1, rows2).reshape(*u1.shape[:-1], *u2.shape[:-1])


def averaged(
    kernel: Kernel, g1: Float[Tensor, "n positions1 r"], g2: Float[Tensor, "m positions2 r"]
) -> Float[Tensor, "n m"]:
    """The mean of k over pairs of positions, which is the kernel of features averaged over positions."""
    (n, p1, rank), (m, p2, _) = g1.shape, g2.shape
    rows = max(1, KERNEL_ENTRIES // max(1, m * p1 * p2))
    parts = [
        kernel(part.reshape(-1, rank), g2.reshape(-1, rank)).reshape(len(part), p1, m, p2).mean((1, 3))
        for part in g1.split(rows)
    ]
    return torch.cat(parts) if parts else g1.new_zeros(n, m)


def averaged_diagonal(φ: Neuron, g: Float[Tensor, "n positions r"]) -> Float[Tensor, " n"]:
    """`averaged` of each with itself, for k = κ_φ."""
    parts = []
    for part in g.split(max(1, KERNEL_ENTRIES // max(1, g.shape[1] ** 2))):
        parts.append(dual_within(φ, part).mean((1, 2)))
    return torch.cat(parts) if parts else g.new_zeros(len(g))
