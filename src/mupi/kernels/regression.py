"""`KernelRegression`: kernel ridge regression, up to all 50,000 images of CIFAR-10 on an ordinary machine."""

from collections.abc import Iterable, Sequence
from math import inf
from numbers import Real
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.given import Kernel, check_new_inputs, check_symmetric, check_training_inputs, kernel_matrix
from mupi.kernels.labels import count_classes, regression_targets
from mupi.kernels.memory import available_memory, require_memory
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
from mupi.kernels.tiles import row_blocks

PREDICTION_ROWS = 1024
"""Rows of k(x, X) held at a time: 0.2 GB in float32 at n = 50,000."""

SOLVES = 3
"""One, and as many refinements as the residual needs; each costs one computation of the kernel."""

SMALL_RESIDUAL = 1e-4
"""At which refinement ends; in float64 the first solution is near 1e-12 already."""

LARGEST_RESIDUAL = 1e-2
"""Beyond which there is no solution, but an error; predictions are off by about as much."""

MOST_SOLVES = 10
"""So many while the residual is beyond that and still halves."""

OWNER = "KernelRegression"

Step = TypeVar("Step")


class NotPositiveDefiniteError(ValueError):
    """k(X, X) + λI is not positive definite up to rounding, or too nearly so: the ridge is too small for the dtype."""


@takes_numpy
class KernelRegression:
    """f(x) = k(x, X) α with (k(X, X) + λI) α = Y and λ = ``ridge``·mean_i k(x_i, x_i).

    Solved by a Cholesky decomposition in place of the lower triangle of k(X, X), in the dtype of X, and refined: the
    residual is taken in float64, solved for with the same factor, and added. n = 50,000 takes 6 GB in float32 and
    12 GB in float64. Conjugate gradients with a Nyström preconditioner take about as long at that size on CIFAR-10,
    in twice the memory, and longer as the ridge shrinks.

    How far predictions are off the exact ones, relative to their size, is about ``residual + rounding``. A residual
    above 1 % is refused.

    Attributes:
        coefficients: α in float64, after `fit`; of shape (n,) for targets of shape (n,).
        regularizer: λ, after `fit`.
        residual: ‖(k(X, X) + λI) α − Y‖/‖Y‖ with Frobenius norms and the kernel in the dtype of X, after `fit`.
        rounding: About ‖(k(X, X) − k̂(X, X)) α‖/‖Y‖, if k̂ is k with each entry rounded once to the dtype of X:
            (Σ_ijo k_ij² α_jo²)^{1/2} ε/2‖Y‖ for the dtype's ε, after `fit`.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        ridge: λ in units of the mean diagonal, positive.

    Raises:
        ValueError: For a ridge that is not positive and finite.
    """

    coefficients: Float[Tensor, "n ..."]
    regularizer: float
    residual: float
    rounding: float

    def __init__(self, kernel: Kernel, ridge: float):
        if not isinstance(ridge, Real) or not 0 < ridge < float("inf"):
            fail(
                "KernelRegression(ridge=...)",
                "a finite number > 0",
                ridge,
                "1e-4 is a usual choice; it is relative to the kernel's mean diagonal",
            )
        self.kernel = kernel
        self.ridge = ridge
        self._inputs: Tensor | None = None

    @torch.no_grad()
    def fit(
        self,
        X: Float[Tensor, "n d"],
        Y: Float[Tensor, "n ..."] | Int[Tensor, " n"],
        progress: Progress | None = None,
        *,
        classes: int | None = None,
    ) -> "KernelRegression":
        """Solve for α and measure the residual.

        Args:
            X: Inputs, of which a copy is kept for `predict`.
            Y: Floats are targets of one or several outputs. Integers of shape (n,) are class labels 0 … k−1, which
                stand for their `centered_one_hot`; each must occur, or ``classes`` say how many there are.
            progress: A progress display to show the stages in.
            classes: k, where some classes may have no label.

        Raises:
            ValueError: If shapes do not fit, numbers are not finite, the kernel is not symmetric, the targets are
                neither floats nor such labels (bools are neither), or memory does not suffice.
            NotPositiveDefiniteError: If k(X, X) + λI is not positive definite up to rounding, or so nearly singular
                that the residual stays above 1 %.
        """
        check_training_inputs("KernelRegression.fit(X)", X)
        targets = regression_targets("KernelRegression.fit(Y)", Y, X, classes)
        n, outputs = targets.shape
        require_memory(
            "KernelRegression.fit(X)",
            memory_needed(n, outputs, X.dtype),
            available_memory(X.device),
            "fit fewer inputs" + (", or X.float()" if X.dtype == torch.float64 else ""),
        )
        self._inputs = None  # should this fit fail, nothing is left of an earlier one
        panels = self._factorize(X, progress)
        α = self._solve(panels, X, targets, progress)
        del panels  # the copy of X takes their place
        self._inputs = X.detach().clone()
        self.coefficients = α if Y.ndim == 2 or not Y.is_floating_point() else α[:, 0]
        return self

    @property
    def regulariser(self) -> float:
        """`regularizer`, as earlier versions spelled it."""
        return self.regularizer

    def predict(self, X: Float[Tensor, "m d"], progress: Progress | None = None) -> Float[Tensor, "m ..."]:
        """f(x) of each row, in blocks of rows, summed in float64; differentiable in X where the kernel is.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If inputs are not as wide as those of `fit` and of their dtype, or not finite.
        """
        if self._inputs is None:
            raise RuntimeError("`KernelRegression.predict` needs a fitted regression; call `fit(X, Y)` first")
        trained, α = self._inputs, self.coefficients
        check_new_inputs("KernelRegression.predict(X)", X, trained.shape[1], trained)
        blocks = list(row_blocks(len(X), len(trained), entries=PREDICTION_ROWS * len(trained)))
        parts = [
            kernel_matrix(OWNER, self.kernel, X[rows], trained).double() @ α
            for rows in _track(progress, "predict", blocks)
        ]
        return torch.cat(parts).to(X.dtype)

    def score(self, X: Float[Tensor, "m d"], labels: Int[Tensor, " m"], progress: Progress | None = None) -> float:
        """The fraction of rows whose largest output is that of their class.

        Raises:
            ValueError: If there is one output, or no row, or not one integer label of a fitted class to each row.
        """
        if labels.is_floating_point() or labels.dtype == torch.bool or labels.shape != X.shape[:1] or not len(labels):
            fail(
                "KernelRegression.score(labels)",
                f"{len(X)} integers, one for each row of X, and at least one",
                f"{labels.dtype} of shape {tuple(labels.shape)}",
            )
        with torch.no_grad():
            outputs = self.predict(X, progress)
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            fail(
                "KernelRegression.score",
                "asked of a regression on classes",
                "one output",
                "fit on class labels, or on their centered_one_hot",
            )
        count_classes("KernelRegression.score(labels)", labels, outputs.shape[1])
        return float((outputs.argmax(1) == labels).double().mean())

    def _factorize(self, X: Tensor, progress: Progress | None) -> Panels:
        """The Cholesky factor of k(X, X) + λI; sets λ."""
        columns = panel_columns(len(X))
        panels: Panels = []
        for part in _track(progress, "kernel", columns):
            # A copy, to write into: what a kernel returns may be its own to keep.
            panels.append(kernel_matrix(OWNER, self.kernel, X[part.start :], X[part]).clone())
            check_symmetric(OWNER, panels[-1][: panels[-1].shape[1]])
        size = float(diagonal(panels).mean())
        if not size > 0:
            fail("KernelRegression(kernel=...)", "positive definite", f"k(x, x) of mean {size:g}")
        self.regularizer = self.ridge * size
        for panel in panels:
            panel.diagonal().add_(self.regularizer)
        for j in _track(progress, "Cholesky", range(len(panels))):
            if row := factorize_panel(panels, j):
                fail(
                    "KernelRegression(ridge=...)",
                    f"large enough that k(X, X) + λI is positive definite in {X.dtype}",
                    f"{self.ridge:g}, at which row {row} of {len(X)} has no positive pivot",
                    "use a larger ridge" + (", or X.double()" if X.dtype != torch.float64 else ""),
                    error=NotPositiveDefiniteError,
                )
        return panels

    def _solve(self, factor: Panels, X: Tensor, targets: Tensor, progress: Progress | None) -> Tensor:
        """α by refinement, the best of all steps; sets ``residual`` and ``rounding``."""
        α, rest = torch.zeros_like(targets, dtype=torch.float64), targets.double()
        size = torch.linalg.vector_norm(rest).clamp_min(torch.finfo(torch.float64).tiny)
        best, self.residual = α, inf
        for solves in range(1, MOST_SOLVES + 1):
            α = α + solve(factor, rest.to(factor[0]))
            rest, rounded = self._rest(X, targets, α, progress)
            residual = float(torch.linalg.vector_norm(rest) / size)
            halved = residual <= self.residual / 2
            if residual < self.residual:
                best, self.residual, self.rounding = α, residual, float(rounded / size)
            if residual <= SMALL_RESIDUAL or not (halved or solves < SOLVES):
                break
            if solves >= SOLVES and self.residual <= LARGEST_RESIDUAL:
                break
        if not self.residual <= LARGEST_RESIDUAL:
            fail(
                "KernelRegression(ridge=...)",
                f"large enough that (k(X, X) + λI) α = Y can be solved to {LARGEST_RESIDUAL:.0%} in {X.dtype}",
                f"{self.ridge:g}, at which a residual of {self.residual:.2g} ‖Y‖ remains",
                "use a larger ridge" + (", or X.double()" if X.dtype != torch.float64 else ""),
                error=NotPositiveDefiniteError,
            )
        return best

    def _rest(
        self, X: Tensor, targets: Tensor, α: Tensor, progress: Progress | None
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, ""]]:
        """Y − (k(X, X) + λI) α in float64, from the kernel computed anew, and the norm of what rounding k adds."""
        rest, variance = targets - self.regularizer * α, torch.zeros_like(α)
        for part in _track(progress, "residual", panel_columns(len(X))):
            panel = kernel_matrix(OWNER, self.kernel, X[part.start :], X[part])
            add_product(rest, panel, α, scale=-1.0)
            add_product(variance, panel.square(), α.square(), scale=1.0)
        return rest, variance.sum().sqrt() * torch.finfo(X.dtype).eps / 2


def memory_needed(n: int, outputs: int, dtype: torch.dtype) -> int:
    """Bytes that a fit allocates: the panels, a few blocks of one panel's size, and some matrices of targets."""
    return dtype.itemsize * (panel_entries(n) + 4 * n * min(n, PANEL_WIDTH) + 8 * n * outputs)


def _track(progress: Progress | None, stage: str, steps: Sequence[Step]) -> Iterable[Step]:
    """``steps``, shown as one stage of ``progress``."""
    return steps if progress is None else progress.track(steps, description=stage)
