"""Which rows stand for all: landmarks of a kernel, drawn uniformly or by a pivoted Cholesky factorization."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from mupi.checks import positive_int
from mupi.kernels.given import Kernel, kernel_matrix
from mupi.kernels.posterior import prior_variance
from mupi.kernels.tiles import row_blocks

CANDIDATES = 20_000
"""Rows among which landmarks are looked for: 80 MB in float32 for each 1,000 landmarks."""

BLOCKS = 16
"""In how many draws a pivoted factorization chooses its pivots."""


@runtime_checkable
class Landmarks(Protocol):
    """How landmarks are chosen."""

    def choose(
        self, owner: str, kernel: Kernel, X: Float[Tensor, "n d"], rank: int, generator: torch.Generator
    ) -> Int[Tensor, " rank"]:
        """Different rows of X, at most ``rank``."""
        ...


@dataclass(frozen=True)
class UniformLandmarks:
    """Rows drawn uniformly (Williams & Seeger 2001)."""

    def choose(
        self, owner: str, kernel: Kernel, X: Float[Tensor, "n d"], rank: int, generator: torch.Generator
    ) -> Int[Tensor, " rank"]:
        """See the class."""
        return uniform_rows(len(X), rank, generator)


@dataclass(frozen=True)
class PivotedCholesky:
    """Pivots of a partial Cholesky factorization that are drawn as the diagonal of what it leaves (Chen et al. 2025).

    A row is drawn the likelier, the worse those drawn before represent it, so groups of few rows, which a uniform draw
    misses, have landmarks too; and unlike the largest pivot, which is an outlier wherever there are some, draws stand
    for the bulk as well. ``rank`` pivots take ``rank`` columns of the kernel, in 16 draws; from each draw what
    others of it represent is left out.

    Args:
        candidates: Rows that are looked at, drawn uniformly if there are more: the factor has so many rows.

    Raises:
        ValueError: For no positive integer.
    """

    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        positive_int("PivotedCholesky(candidates=...)", self.candidates)

    def choose(
        self, owner: str, kernel: Kernel, X: Float[Tensor, "n d"], rank: int, generator: torch.Generator
    ) -> Int[Tensor, " rank"]:
        """See the class."""
        rows = uniform_rows(len(X), self.candidates, generator)
        some = X if len(rows) == len(X) else X[rows]
        return rows[pivots(owner, kernel, some, rank, generator)]


def uniform_rows(n: int, count: int, generator: torch.Generator | None) -> Int[Tensor, " count"]:
    """Different rows, in order, so that a file is read from its beginning to its end; all if there are no more."""
    if count >= n:
        return torch.arange(n)
    return torch.randperm(n, generator=generator)[:count].sort().values


@torch.no_grad()
def pivots(
    owner: str, kernel: Kernel, X: Float[Tensor, "n d"], rank: int, generator: torch.Generator
) -> Int[Tensor, " rank"]:
    """Rows on which a factor F F^T of k(X, X) is exact; fewer than ``rank`` where these leave nothing but rounding.

    F grows by G C^{−T} for the drawn columns G of k − F F^T, with C C^T those of its rows.
    """
    n, rank = len(X), min(rank, len(X))
    left = prior_variance(owner, kernel, X).double().cpu()
    # What rounding leaves of k(x, x) after all is explained.
    nothing = 8 * torch.finfo(X.dtype).eps * rank**0.5 * float(left.max())
    factor = X.new_empty(n, rank)
    chosen: list[Tensor] = []
    done = 0
    (pivoted,) = get_lapack_funcs(("pstrf",), dtype="float64")
    while done < rank and float(left.max()) > nothing:
        weights = torch.where(left > nothing, left, 0)
        count = min(rank - done, -(-rank // BLOCKS), int((weights > 0).sum()))
        drawn = torch.multinomial(weights, count, generator=generator)
        G = kernel_matrix(owner, kernel, X, X[drawn]).clone() - factor[:, :done] @ factor[drawn, :done].T
        square = G[drawn].double().cpu()
        C, order, found, _ = pivoted(square.numpy(), lower=1, tol=nothing)
        if not found:
            break
        order = torch.from_numpy(order[:found] - 1).long()
        triangle = torch.from_numpy(C[:found, :found]).tril().to(G)
        grown = torch.linalg.solve_triangular(triangle.T, G[:, order.to(G.device)], upper=True, left=False)
        factor[:, done : done + found] = grown
        chosen.append(drawn[order])
        for rows in row_blocks(n, found):
            left[rows] -= grown[rows].double().square().sum(1).cpu()
        left[drawn] = 0  # the others of a draw are represented by those that were taken
        done += found
    return torch.cat(chosen) if chosen else torch.arange(0)
