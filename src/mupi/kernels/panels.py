"""A symmetric positive definite matrix stored as its lower triangle, and its Cholesky factor in the same memory.

Panel j holds columns [j·w, (j+1)·w) of rows j·w and below, w = `PANEL_WIDTH`: about half the memory of the square, so
that 50,000 × 50,000 is 5.1 GB in float32 and 10.2 GB in float64, and nothing of that size is ever copied.

Of p processes each has every p-th panel, and narrower ones, so that all have enough of them to be equally busy. Each
panel of the factor is sent to all once it is known, and each process subtracts its share from the panels that it has:
what one process computes, in the same order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.distributed.processes import ALONE, Processes

PANEL_WIDTH = 1024
"""Wide enough that matrix products run at full speed, narrow beside the large matrices that need it."""

NARROWEST = 128
"""Where several processes have shares: below it products are slow."""

PANELS_EACH = 16
"""So many panels each process has, if they are not narrower than that: the last ones keep few processes busy."""


def panel_width(n: int, processes: int = 1) -> int:
    """Columns of a panel."""
    return PANEL_WIDTH if processes == 1 else min(PANEL_WIDTH, max(NARROWEST, n // (PANELS_EACH * processes)))


def panel_columns(n: int, processes: int = 1) -> list[slice]:
    """The columns of each panel."""
    width = panel_width(n, processes)
    return [slice(start, min(start + width, n)) for start in range(0, n, width)]


def panel_entries(n: int, processes: int = 1) -> int:
    """Entries of an n × n matrix's panels that a process holds: the first one, which has most."""
    columns = panel_columns(n, processes)[::processes]
    return sum((n - part.start) * (part.stop - part.start) for part in columns)


@dataclass(frozen=True)
class Panels:
    """All panels of a matrix or factor, of which several processes have shares; iterated over, one after the other.

    Attributes:
        columns: The columns of each panel.
        own: The panels of this process, by their numbers: every p-th.
        like: A tensor of their dtype, where they are.
        processes: Those that have the panels.
    """

    columns: Sequence[slice]
    own: dict[int, Tensor]
    like: Tensor
    processes: Processes = ALONE

    @property
    def n(self) -> int:
        """Rows of the matrix."""
        return self.columns[-1].stop

    def panel(self, j: int) -> Float[Tensor, "rows width"]:
        """Panel j, in all processes: the one that has it sends it. Not to be written to."""
        together = self.processes.together
        if together is None:
            return self.own[j]
        part = self.columns[j]
        panel = self.own[j] if j in self.own else self.like.new_empty(self.n - part.start, part.stop - part.start)
        return together.from_one(panel, j % together.size)

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Float[Tensor, "rows width"]]:
        return map(self.panel, range(len(self)))

    def __reversed__(self) -> Iterator[Float[Tensor, "rows width"]]:
        return map(self.panel, reversed(range(len(self))))

    def clone(self) -> "Panels":
        """A copy."""
        own = {j: panel.clone() for j, panel in self.own.items()}
        return Panels(self.columns, own, self.like, self.processes)


def own_panels(n: int, processes: Processes) -> range:
    """The numbers of the panels that this process has."""
    return range(processes.rank, len(panel_columns(n, processes.size)), processes.size)


def diagonal(panels: Panels) -> Float[Tensor, " n"]:
    """The diagonal, a copy."""
    found = panels.like.new_zeros(panels.n)
    for j, panel in panels.own.items():
        found[panels.columns[j]] = panel.diagonal()
    return panels.processes.summed(found)


def factorize_panel(panels: Panels, j: int) -> int:
    """Turn panel j of A into panel j of the Cholesky factor L, A = L Lᵀ, and subtract its share from all after it.

    L_jj L_jjᵀ = A_jj − Σ_{k<j} L_jk L_jkᵀ,  L_ij = (A_ij − Σ_{k<j} L_ik L_jkᵀ) L_jj^{−T} for the rows i below.

    Args:
        panels: Those before j are L's already, and their shares are subtracted.
        j: Which one.

    Returns:
        0, or the row (counted from 1) at which A turned out not to be positive definite.
    """
    wrong = torch.zeros((), dtype=torch.int64, device=panels.like.device)
    if j in panels.own:
        wrong += _factorized(panels.own[j])
    if panels.processes.together is not None:
        wrong = panels.processes.together.from_one(wrong, j % panels.processes.size)
    if wrong > 0:
        return panels.columns[j].start + int(wrong)
    done = panels.panel(j)
    for k, panel in panels.own.items():
        if k > j:
            rows = done[-len(panel) :]
            panel.addmm_(rows, rows[: panel.shape[1]].T, alpha=-1)
    return 0


def _factorized(panel: Float[Tensor, "rows width"]) -> int:
    """Turn a panel, from which the shares of all before it are subtracted, into L's; its first row that is wrong."""
    width = panel.shape[1]
    factor, info = torch.linalg.cholesky_ex(panel[:width])
    if info > 0:
        return int(info)
    panel[:width] = factor
    below = panel[width:]
    below.copy_(torch.linalg.solve_triangular(factor.T, below, upper=True, left=False))
    return 0


def solve(factor: Panels, y: Float[Tensor, "n outputs"]) -> Float[Tensor, "n outputs"]:
    """A⁻¹ y = L^{−T} L⁻¹ y."""
    return other_half_solve(factor, half_solve(factor, y))


def half_solve(factor: Panels, y: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
    """L⁻¹ y, whose columns have the squared norms yᵀ A⁻¹ y."""
    return _by_columns(factor, y, transposed=False)


def other_half_solve(factor: Panels, y: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
    """L^{−T} y, which makes A⁻¹ y of L⁻¹ y."""
    return _by_columns(factor, y, transposed=True)


def _by_columns(factor: Panels, y: Float[Tensor, "n columns"], transposed: bool) -> Float[Tensor, "n columns"]:
    """L⁻¹ y or L^{−T} y; of several processes each solves for its share of the columns."""
    if factor.processes.together is None:
        return _solved(factor, y, transposed)
    found = SharedSolve.apply(y, factor, transposed)
    assert isinstance(found, Tensor)
    return found


class SharedSolve(torch.autograd.Function):
    """L⁻¹ y or L^{−T} y of y that all processes have, in all of them; its derivative is asked of all of them too."""

    @staticmethod
    def forward(ctx: Any, y: Float[Tensor, "n columns"], factor: Panels, transposed: bool) -> Tensor:
        """Solve for a share of the columns, and gather all."""
        ctx.factor, ctx.transposed = factor, transposed
        together = factor.processes.together
        assert together is not None
        own = _solved(factor, y[:, together.slice_of(y.shape[1])], transposed)
        return together.rows(own.T, together.shares(y.shape[1])).T.contiguous()

    @staticmethod
    def backward(ctx: Any, d_found: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """By the transpose of the inverse."""
        return SharedSolve.apply(d_found, ctx.factor, not ctx.transposed), None, None


def _solved(factor: Panels, y: Float[Tensor, "n columns"], transposed: bool) -> Float[Tensor, "n columns"]:
    """L⁻¹ y or L^{−T} y."""
    y, step = y.clone(), _backward if transposed else _forward
    for panel in reversed(factor) if transposed else factor:
        step(panel, y)
    return y


def _forward(panel: Float[Tensor, "rows width"], y: Float[Tensor, "n columns"]) -> None:
    """The step of a panel in solving L x = y, in place of y."""
    square, below = panel[: panel.shape[1]], panel[panel.shape[1] :]
    start = len(y) - len(panel)
    stop = start + len(square)
    y[start:stop] = torch.linalg.solve_triangular(square, y[start:stop], upper=False)
    y[stop:].addmm_(below, y[start:stop], alpha=-1)


def _backward(panel: Float[Tensor, "rows width"], y: Float[Tensor, "n columns"]) -> None:
    """The step of a panel in solving Lᵀ x = y, in place of y."""
    square, below = panel[: panel.shape[1]], panel[panel.shape[1] :]
    start = len(y) - len(panel)
    stop = start + len(square)
    y[start:stop].addmm_(below.T, y[stop:], alpha=-1)
    y[start:stop] = torch.linalg.solve_triangular(square.T, y[start:stop], upper=True)


def log_determinant(factor: Panels) -> float:
    """log det A = 2 Σ_i log L_ii."""
    return 2 * float(diagonal(factor).double().log().sum())


def inverse_diagonal(factor: Panels) -> Float[Tensor, " n"]:
    """The diagonal of A⁻¹, Σ_i (L⁻¹)_ij²: column by column of L⁻¹, in about the time of the factorization.

    Several processes each have the columns of another panel at a time.
    """
    found = factor.like.new_zeros(factor.n)
    for first in range(0, len(factor), factor.processes.size):
        own = first + factor.processes.rank
        part = factor.columns[own] if own < len(factor) else slice(factor.n, factor.n)
        # L⁻¹ is lower triangular: rows above a column's own are zero.
        columns = factor.like.new_zeros(factor.n - part.start, part.stop - part.start)
        columns.diagonal().fill_(1)
        for panel in map(factor.panel, range(first, len(factor))):
            if len(panel) <= len(columns):
                _forward(panel, columns)
        found[part] = columns.square().sum(0)
    return factor.processes.summed(found)


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
