"""The linear system of kernel ridge regression, (k(X, X) + diag(λ)) α = Y: factorized, solved, with its residual."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from mupi.checks import fail
from mupi.distributed.processes import ALONE, Processes
from mupi.kernels.given import Kernel, check_symmetric, kernel_matrix
from mupi.kernels.panels import (
    Panels,
    add_product,
    diagonal,
    factorize_panel,
    own_panels,
    panel_columns,
    panel_entries,
    panel_width,
    solve,
)

OWNER = "KernelRegression"

KEPT_BYTES = 2**30
"""Size of a matrix, or of a process's share of it, up to which it is kept where it is asked for again: the kernel's,
and after a fit its factor's."""

SOLVES = 3
"""One, and as many refinements as the residual needs; each costs one computation of a kernel that was not kept."""

SMALL_RESIDUAL = 1e-4
"""At which refinement ends; in float64 the first solution is near 1e-12 already."""

LARGEST_RESIDUAL = 1e-2
"""Beyond which there is no solution, but an error; predictions are off by about as much."""

LARGEST_ROUNDING = 5e-2
"""Beyond which there is no solution either. Of 573 sets of predictions in float32, with ridges from 1e-7, 18 have
more, of which 16 are off float64 by more than a twentieth; of the others 3 are, by up to 6 %, far from the data."""

MOST_SOLVES = 10
"""So many while the residual is beyond that and still halves."""

Step = TypeVar("Step")


class NotPositiveDefiniteError(ValueError):
    """k(X, X) + λI is not positive definite up to rounding, or too nearly so: the ridge is too small for the dtype."""


@dataclass(frozen=True)
class Solution:
    """α, ‖Y − (k + λI) α‖/‖Y‖ and what rounding each entry of k adds to it: see `mupi.KernelRegression`."""

    coefficients: Float[Tensor, "n outputs"]
    residual: float
    rounding: float
    iterations: int


@dataclass
class RidgeSystem:
    """(k(X, X) + diag(λ_i)) α = Y with λ_i = λ/w_i and λ = ``ridge``·mean_i k(x_i, x_i).

    Several processes share the matrix, and each has all else in whole; all of them call the same methods.

    Attributes:
        kernel: The kernel k.
        X: Training inputs, one row each.
        ridge: λ in units of the mean diagonal.
        weights: w; None for ones.
        processes: Those that share k(X, X).
        regularizer: λ, once factorized.
        noise: λ_i in float64, once factorized.
    """

    kernel: Kernel
    X: Float[Tensor, "n d"]
    ridge: float
    weights: Float[Tensor, " n"] | None
    processes: Processes = ALONE
    regularizer: float = 0.0
    noise: Float[Tensor, " n"] | None = None
    _matrix: Panels | None = None

    def factorize(self, progress: Progress | None) -> Panels:
        """The Cholesky factor of k(X, X) + diag(λ_i); sets λ.

        Raises:
            NotPositiveDefiniteError: If there is none.
        """
        X, columns = self.X, panel_columns(len(self.X), self.processes.size)

        def computed() -> dict[int, Tensor]:
            own = {}
            for j in track(progress, "kernel", own_panels(len(X), self.processes)):
                own[j] = self._panel(columns[j])
                check_symmetric(OWNER, own[j][: own[j].shape[1]])
            return own

        own = self.processes.agreed(computed)
        one = next(iter(own.values())) if own else kernel_matrix(OWNER, self.kernel, X[:1], X[:1])
        panels = Panels(columns, own, one.new_empty(0), self.processes)
        self.regularizer, self.noise = noise_of(self.ridge, float(diagonal(panels).mean()), self.weights, X)
        if is_kept(len(X), X.dtype, self.processes.size):
            self._matrix = panels.clone()
        for j, panel in own.items():
            panel.diagonal().add_(self.noise[columns[j]].to(panel))
        for j in track(progress, "Cholesky", range(len(panels))):
            if row := factorize_panel(panels, j):
                fail(
                    "KernelRegression(ridge=...)",
                    f"large enough that k(X, X) + λI is positive definite in {X.dtype}",
                    f"{self.ridge:g}, at which row {row} of {len(X)} has no positive pivot",
                    "use a larger ridge" + (", or X.double()" if X.dtype != torch.float64 else ""),
                    error=NotPositiveDefiniteError,
                )
        return panels

    def solve(self, factor: Panels, targets: Float[Tensor, "n outputs"], progress: Progress | None) -> Solution:
        """α by refinement, the best of all steps.

        Raises:
            NotPositiveDefiniteError: If the residual stays above 1 %.
        """
        α, rest = torch.zeros_like(targets, dtype=torch.float64), targets.double()
        size = torch.linalg.vector_norm(rest).clamp_min(torch.finfo(torch.float64).tiny)
        best = Solution(α, inf, inf, 0)
        for solves in range(1, MOST_SOLVES + 1):
            α = α + solve(factor, rest.to(factor.like))
            rest, rounded = self._rest(targets, α, progress)
            residual = float(torch.linalg.vector_norm(rest) / size)
            halved = residual <= best.residual / 2
            if residual < best.residual:
                best = Solution(α, residual, float(rounded / size), solves)
            if residual <= SMALL_RESIDUAL or not (halved or solves < SOLVES):
                break
            if solves >= SOLVES and best.residual <= LARGEST_RESIDUAL:
                break
        if not best.residual <= LARGEST_RESIDUAL:
            fail(
                "KernelRegression(ridge=...)",
                f"large enough that (k(X, X) + λI) α = Y can be solved to {LARGEST_RESIDUAL:.0%} in {self.X.dtype}",
                f"{self.ridge:g}, at which a residual of {best.residual:.2g} ‖Y‖ remains",
                "use a larger ridge" + (", or X.double()" if self.X.dtype != torch.float64 else ""),
                error=NotPositiveDefiniteError,
            )
        self._matrix = None
        return best

    def _panel(self, part: slice) -> Float[Tensor, "rows width"]:
        """Some columns of k(X, X), on and below the diagonal; a copy, as what a kernel returns may be its own to keep.

        Samples with themselves are one argument, of which kernels compute half.
        """
        columns, below = self.X[part], self.X[part.stop :]
        square = kernel_matrix(OWNER, self.kernel, columns, columns)
        if not len(below):
            return square.clone()
        return torch.cat([square, kernel_matrix(OWNER, self.kernel, below, columns)])

    def _rest(
        self, targets: Tensor, α: Tensor, progress: Progress | None
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, ""]]:
        """Y − (k(X, X) + λI) α in float64, and the norm of what rounding k adds; a large k is computed anew."""
        assert self.noise is not None
        noise, columns = self.noise, panel_columns(len(self.X), self.processes.size)

        def share() -> Float[Tensor, "2 n outputs"]:
            found = α.new_zeros(2, *α.shape)
            if self.processes.first:
                found[0] = targets - noise[:, None] * α
            for j in track(progress, "residual", own_panels(len(self.X), self.processes)):
                panel = self._panel(columns[j]) if self._matrix is None else self._matrix.own[j]
                add_product(found[0], panel, α, scale=-1.0)
                add_product(found[1], panel.square(), α.square(), scale=1.0)
            return found

        rest, variance = self.processes.summed(self.processes.agreed(share))
        return rest, variance.sum().sqrt() * torch.finfo(self.X.dtype).eps / 2


def noise_of(
    ridge: float, size: float, weights: Float[Tensor, " n"] | None, X: Float[Tensor, "n d"]
) -> tuple[float, Float[Tensor, " n"]]:
    """λ, and λ_i = λ/w_i of each sample in float64.

    Args:
        ridge: λ in units of ``size``.
        size: The mean of k(x_i, x_i).
        weights: w; None for ones.
        X: The inputs.

    Raises:
        ValueError: If ``size`` is not positive.
    """
    if not size > 0:
        fail("KernelRegression(kernel=...)", "positive definite", f"k(x, x) of mean {size:g}")
    weights = torch.ones(len(X), dtype=torch.float64) if weights is None else weights
    return ridge * size, ridge * size / weights.to(X.device)


def check_weights(argument: str, weights: Tensor | None, n: int) -> Float[Tensor, " n"] | None:
    """Raise ``ValueError`` unless weights are n finite numbers above 0."""
    if weights is None:
        return None
    must = f"{n} finite numbers > 0"
    if not isinstance(weights, Tensor):
        fail(argument, f"a tensor or an array of {must}", type(weights).__name__)
    if weights.shape != (n,):
        fail(argument, must, f"shape {tuple(weights.shape)}")
    if wrong := int((~(torch.isfinite(weights) & (weights > 0))).sum()):
        fail(argument, must, f"{wrong} that are not", "leave out samples of weight 0")
    return weights.detach().double()


def check_rounding(solution: Solution, ridge: float, dtype: torch.dtype) -> None:
    """Raise ``NotPositiveDefiniteError`` if the rounding of a kernel's entries moves predictions by more than 5 %."""
    if not solution.rounding <= LARGEST_ROUNDING:
        fail(
            "KernelRegression(ridge=...)",
            f"large enough that rounding k to {dtype} moves predictions by {LARGEST_ROUNDING:.0%} at most",
            f"{ridge:g}, at which it moves them by {solution.rounding:.2g} ‖Y‖",
            "use a larger ridge" + (", or X.double()" if dtype != torch.float64 else ""),
            error=NotPositiveDefiniteError,
        )


def is_kept(n: int, dtype: torch.dtype, processes: int = 1) -> bool:
    """Whether a process's share of a triangle of n × n is kept where it is asked for again."""
    return panel_entries(n, processes) * dtype.itemsize <= KEPT_BYTES


def memory_needed(n: int, outputs: int, dtype: torch.dtype, processes: int = 1) -> int:
    """Bytes that a fit allocates in each process: its panels, and of k where it is kept, a few more, some targets."""
    panels = panel_entries(n, processes) * dtype.itemsize
    kept = panels if is_kept(n, dtype, processes) else 0
    return panels + kept + dtype.itemsize * (4 * n * min(n, panel_width(n, processes)) + 8 * n * outputs)


def track(progress: Progress | None, stage: str, steps: Sequence[Step]) -> Iterable[Step]:
    """``steps``, shown as one stage of ``progress``."""
    return steps if progress is None else progress.track(steps, description=stage)
