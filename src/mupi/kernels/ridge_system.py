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
from mupi.kernels.given import Kernel, check_symmetric, kernel_matrix
from mupi.kernels.panels import (
    PANEL_WIDTH,
    Panels,
    add_product,
    diagonal,
    factorize_panel,
    panel_columns,
    panel_entries,
    solve,
)

OWNER = "KernelRegression"

KEPT_BYTES = 2**30
"""Size of a matrix up to which it is kept where it is asked for again: the kernel's, and after a fit its factor's."""

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

    Attributes:
        kernel: The kernel k.
        X: Training inputs, one row each.
        ridge: λ in units of the mean diagonal.
        weights: w; None for ones.
        regularizer: λ, once factorized.
        noise: λ_i in float64, once factorized.
    """

    kernel: Kernel
    X: Float[Tensor, "n d"]
    ridge: float
    weights: Float[Tensor, " n"] | None
    regularizer: float = 0.0
    noise: Float[Tensor, " n"] | None = None
    _matrix: Panels | None = None

    def factorize(self, progress: Progress | None) -> Panels:
        """The Cholesky factor of k(X, X) + diag(λ_i); sets λ.

        Raises:
            NotPositiveDefiniteError: If there is none.
        """
        X = self.X
        columns = panel_columns(len(X))
        panels: Panels = []
        for part in track(progress, "kernel", columns):
            panels.append(self._panel(part))
            check_symmetric(OWNER, panels[-1][: panels[-1].shape[1]])
        self.regularizer, self.noise = noise_of(self.ridge, float(diagonal(panels).mean()), self.weights, X)
        if is_kept(len(X), X.dtype):
            self._matrix = [panel.clone() for panel in panels]
        for panel, part in zip(panels, columns, strict=True):
            panel.diagonal().add_(self.noise[part].to(panel))
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
            α = α + solve(factor, rest.to(factor[0]))
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
        X = self.X
        rest, variance = targets - self.noise[:, None] * α, torch.zeros_like(α)
        for i, part in enumerate(track(progress, "residual", panel_columns(len(X)))):
            kept = None if self._matrix is None else self._matrix[i]
            panel = self._panel(part) if kept is None else kept
            add_product(rest, panel, α, scale=-1.0)
            add_product(variance, panel.square(), α.square(), scale=1.0)
        return rest, variance.sum().sqrt() * torch.finfo(X.dtype).eps / 2


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


def is_kept(n: int, dtype: torch.dtype) -> bool:
    """Whether a triangle of n × n is kept where it is asked for again."""
    return panel_entries(n) * dtype.itemsize <= KEPT_BYTES


def memory_needed(n: int, outputs: int, dtype: torch.dtype) -> int:
    """Bytes that a fit allocates: the panels, and k where it is kept, a few panels, and some matrices of targets."""
    panels = panel_entries(n) * dtype.itemsize
    kept = panels if is_kept(n, dtype) else 0
    return panels + kept + dtype.itemsize * (4 * n * min(n, PANEL_WIDTH) + 8 * n * outputs)


def track(progress: Progress | None, stage: str, steps: Sequence[Step]) -> Iterable[Step]:
    """``steps``, shown as one stage of ``progress``."""
    return steps if progress is None else progress.track(steps, description=stage)
