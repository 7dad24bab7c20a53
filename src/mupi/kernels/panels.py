"""A symmetric positive definite matrix stored as its lower triangle, and its Cholesky factor in the same memory.

Panel j holds columns [j·w, (j+1)·w) of rows j·w and below, w = `PANEL_WIDTH`: about half the memory of the square, so
that 50,000 × 50,000 is 5.1 GB in float32 and 10.2 GB in float64, and nothing of that size is ever copied.
"""

import torch
from jaxtyping import Float
from torch import Tensor

PANEL_WIDTH = 1024
"""Wide enough that matrix products run at full speed, narrow beside the large matrices that need it."""

Panels = list[Tensor]  # each of shape (rows, width)


def panel_columns(n: int) -> list[slice]:
    """The columns of each panel."""
    return [slice(start, min(start + PANEL_WIDTH, n)) for start in range(0, n, PANEL_WIDTH)]


def panel_entries(n: int) -> int:
    """Entries that all panels of an n × n matrix hold together."""
    return sum((n - columns.start) * (columns.stop - columns.start) for columns in panel_columns(n))


def diagonal(panels: Panels) -> Float[Tensor, " n"]:
    """The diagonal, a copy."""
    return torch.cat([panel.diagonal() for panel in panels])


def factorize_panel(panels: Panels, j: int) -> int:
    """Turn panel j of A into panel j of the Cholesky factor L, A = L Lᵀ; all panels before it must be L's already.

    L_jj L_jjᵀ = A_jj − Σ_{k<j} L_jk L_jkᵀ,  L_ij = (A_ij − Σ_{k<j} L_ik L_jkᵀ) L_jj^{−T} for the rows i below.

    Returns:
        0, or the row (counted from 1) at which A turned out not to be positive definite.
    """
    panel = panels[j]
    width = panel.shape[1]
    for done in panels[:j]:
        rows = done[-len(panel) :]
        panel.addmm_(rows, rows[:width].T, alpha=-1)
    factor, info = torch.linalg.cholesky_ex(panel[:width])
    if info > 0:
        return j * PANEL_WIDTH + int(info)
    panel[:width] = factor
    below = panel[width:]
    below.copy_(torch.linalg.solve_triangular(factor.T, below, upper=True, left=False))
    return 0


def solve(factor: Panels, y: Float[Tensor, "n outputs"]) -> Float[Tensor, "n outputs"]:
    """A⁻¹ y = L^{−T} L⁻¹ y."""
    return other_half_solve(factor, half_solve(factor, y))


def half_solve(factor: Panels, y: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
    """L⁻¹ y, whose columns have the squared norms yᵀ A⁻¹ y."""
    y = y.clone()
    for panel in factor:
        square, below = panel[: panel.shape[1]], panel[panel.shape[1] :]
        start = len(y) - len(panel)
        stop = start + len(square)
        y[start:stop] = torch.linalg.solve_triangular(square, y[start:stop], upper=False)
        y[stop:].addmm_(below, y[start:stop], alpha=-1)
    return y


def other_half_solve(factor: Panels, y: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
    """L^{−T} y, which makes A⁻¹ y of L⁻¹ y."""
    y = y.clone()
    for panel in reversed(factor):
        square, below = panel[: panel.shape[1]], panel[panel.shape[1] :]
        start = len(y) - len(panel)
        stop = start + len(square)
        y[start:stop].addmm_(below.T, y[stop:], alpha=-1)
        y[start:stop] = torch.linalg.solve_triangular(square.T, y[start:stop], upper=True)
    return y


def log_determinant(factor: Panels) -> float:
    """log det A = 2 Σ_i log L_ii."""
    return 2 * float(diagonal(factor).double().log().sum())


def inverse_diagonal(factor: Panels) -> Float[Tensor, " n"]:
    """The diagonal of A⁻¹, Σ_i (L⁻¹)_ij²: column by column of L⁻¹, in about the time of the factorization."""
    parts = []
    for j, columns in enumerate(panel_columns(len(factor[0]))):
        # L⁻¹ is lower triangular: rows above a column's own are zero.
        unit = factor[j].new_zeros(len(factor[j]), columns.stop - columns.start)
        unit.diagonal().fill_(1)
        parts.append(half_solve(factor[j:], unit).square().sum(0))
    return torch.cat(parts)


def add_product(
    total: Float[Tensor, "n outputs"],
    panel: Float[Tensor, "rows width"],
    x: Float[Tensor, "n outputs"],
    scale: float,
) -> None:
    """Add to ``total`` the share of one panel of A, and of its mirror image, in scale·A x; in the dtype of ``x``."""
    panel = panel.to(x.dtype)
    start = len(x) - len(panel)
    stop = start + panel.shape[1]
    square, below = panel[: panel.shape[1]], panel[panel.shape[1] :]
    total[start:stop] += scale * (square @ x[start:stop] + below.T @ x[stop:])
    total[stop:] += scale * (below @ x[start:stop])
