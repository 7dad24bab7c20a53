"""`KernelRegression`: kernel ridge regression, up to all 50,000 images of CIFAR-10 on an ordinary machine."""

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, finite
from mupi.kernels.inner_products import check_matrix
from mupi.kernels.labels import centred_one_hot
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.panels import (
    PANEL_WIDTH,
    Panels,
    add_product,
    diagonal,
    factorise_panel,
    panel_columns,
    panel_entries,
    solve,
)
from mupi.kernels.tiles import row_blocks

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, d) and (m, d) to (n, m): `NNGP`, `NTK`, ….

It is called once for each block of the matrix. For the feature kernel of a network, compute the features once and
regress on them: ``g = net.hidden(x)[-1]`` with the kernel ``net.readout.weight.feature_kernel``.
"""

PREDICTION_ROWS = 1024
"""Rows of k(x, X) held at a time: 0.2 GB in float32 at n = 50,000."""

SOLVES = 3
"""One, and as many refinements as the residual needs; each costs one computation of the kernel."""

SMALL_RESIDUAL = 1e-4
"""At which refinement ends; in float64 the first solution is near 1e-12 already."""

Step = TypeVar("Step")


class NotPositiveDefiniteError(ValueError):
    """k(X, X) + λI is not positive definite up to rounding: the ridge is too small for the dtype."""


@takes_numpy
class KernelRegression:
    """f(x) = k(x, X) α with (k(X, X) + λI) α = Y and λ = ``ridge``·mean_i k(x_i, x_i).

    Solved by a Cholesky decomposition in place of the lower triangle of k(X, X), in the dtype of X, and refined: the
    residual is taken in float64, solved for with the same factor, and added. n = 50,000 takes 6 GB in float32 and
    12 GB in float64. Conjugate gradients with a Nyström preconditioner take about as long at that size on CIFAR-10,
    in twice the memory, and longer as the ridge shrinks.

    Attributes:
        coefficients: α in float64, after `fit`; of shape (n,) for targets of shape (n,).
        regulariser: λ, after `fit`.
        residual: ‖(k(X, X) + λI) α − Y‖/‖Y‖ with Frobenius norms and the kernel in the dtype of X, after `fit`.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        ridge: λ in units of the mean diagonal, positive.

    Raises:
        ValueError: For a ridge that is not positive and finite.
    """

    coefficients: Float[Tensor, "n ..."]
    regulariser: float
    residual: float

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
    ) -> "KernelRegression":
        """Solve for α and measure the residual.

        Args:
            X: Inputs, kept for `predict`.
            Y: Targets of one or several outputs, or integer class labels, which stand for their `centred_one_hot`.
            progress: A progress display to show the stages in.

        Raises:
            ValueError: If shapes do not fit, or memory does not suffice.
            NotPositiveDefiniteError: If k(X, X) + λI is not positive definite up to rounding.
        """
        targets = regression_targets(X, Y)
        n, outputs = targets.shape
        require_memory(
            "KernelRegression.fit(X)",
            memory_needed(n, outputs, X.dtype),
            available_memory(X.device),
            "fit fewer inputs" + (", or X.float()" if X.dtype == torch.float64 else ""),
        )
        panels = self._factorise(X, progress)
        α, rest = torch.zeros_like(targets, dtype=torch.float64), targets.double()
        for _ in range(SOLVES):
            α += solve(panels, rest.to(panels[0]))
            rest = self._rest(X, targets, α, progress)
            size = torch.linalg.vector_norm(targets.double()).clamp_min(torch.finfo(torch.float64).tiny)
            self.residual = float(torch.linalg.vector_norm(rest) / size)
            if self.residual <= SMALL_RESIDUAL:
                break
        self._inputs = X
        self.coefficients = α if Y.ndim == 2 or not Y.is_floating_point() else α[:, 0]
        return self

    def predict(self, X: Float[Tensor, "m d"], progress: Progress | None = None) -> Float[Tensor, "m ..."]:
        """f(x) of each row, in blocks of rows, summed in float64; differentiable in X where the kernel is.

        Raises:
            RuntimeError: Before `fit`.
        """
        if self._inputs is None:
            raise RuntimeError("`KernelRegression.predict` needs a fitted regression; call `fit(X, Y)` first")
        trained, α = self._inputs, self.coefficients
        blocks = list(row_blocks(len(X), len(trained), entries=PREDICTION_ROWS * len(trained)))
        parts = [self.kernel(X[rows], trained).double() @ α for rows in _track(progress, "predict", blocks)]
        return torch.cat(parts).to(X.dtype)

    def score(self, X: Float[Tensor, "m d"], labels: Int[Tensor, " m"], progress: Progress | None = None) -> float:
        """The fraction of rows whose largest output is that of their class.

        Raises:
            ValueError: If there is one output, or no row, or not one integer label to each row.
        """
        if labels.is_floating_point() or labels.shape != X.shape[:1] or not len(labels):
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
                "fit on class labels, or on their centred_one_hot",
            )
        return float((outputs.argmax(1) == labels).double().mean())

    def _factorise(self, X: Tensor, progress: Progress | None) -> Panels:
        """The Cholesky factor of k(X, X) + λI; sets λ."""
        columns = panel_columns(len(X))
        panels: Panels = []
        for part in _track(progress, "kernel", columns):
            panels.append(self.kernel(X[part.start :], X[part]))
            finite("KernelRegression(kernel=...)(X, X)", panels[-1])
        self.regulariser = self.ridge * float(diagonal(panels).mean())
        for panel in panels:
            panel.diagonal().add_(self.regulariser)
        for j in _track(progress, "Cholesky", range(len(panels))):
            if row := factorise_panel(panels, j):
                fail(
                    "KernelRegression(ridge=...)",
                    f"large enough that k(X, X) + λI is positive definite in {X.dtype}",
                    f"{self.ridge:g}, at which row {row} of {len(X)} has no positive pivot",
                    "use a larger ridge" + (", or X.double()" if X.dtype != torch.float64 else ""),
                    error=NotPositiveDefiniteError,
                )
        return panels

    def _rest(self, X: Tensor, targets: Tensor, α: Tensor, progress: Progress | None) -> Float[Tensor, "n outputs"]:
        """Y − (k(X, X) + λI) α in float64, from the kernel computed anew."""
        rest = targets - self.regulariser * α
        for part in _track(progress, "residual", panel_columns(len(X))):
            add_product(rest, self.kernel(X[part.start :], X[part]), α, scale=-1.0)
        return rest


def memory_needed(n: int, outputs: int, dtype: torch.dtype) -> int:
    """Bytes that a fit allocates: the panels, a few blocks of one panel's size, and some matrices of targets."""
    return dtype.itemsize * (panel_entries(n) + 4 * n * min(n, PANEL_WIDTH) + 8 * n * outputs)


def regression_targets(X: Tensor, Y: Tensor, regression: str = "KernelRegression") -> Float[Tensor, "n outputs"]:
    """The targets as a matrix of X's dtype and device; class labels as their `centred_one_hot`.

    Args:
        X: Inputs.
        Y: Targets, one or several to each row of X, or class labels.
        regression: Whose `fit` errors name.

    Raises:
        ValueError: If shapes do not fit, or a number is not finite.
    """
    check_matrix(f"{regression}.fit(X)", X)
    if not len(X):
        fail(f"{regression}.fit(X)", "of at least one row", "none")
    if Y.ndim not in (1, 2) or len(Y) != len(X):
        fail(
            f"{regression}.fit(Y)",
            f"of shape ({len(X)},) or ({len(X)}, outputs), a row for each of X",
            f"shape {tuple(Y.shape)}",
        )
    if not Y.is_floating_point():
        return centred_one_hot(Y, dtype=X.dtype).to(X.device)
    finite(f"{regression}.fit(Y)", Y)
    return Y.reshape(len(Y), -1).to(X)


def _track(progress: Progress | None, stage: str, steps: Sequence[Step]) -> Iterable[Step]:
    """``steps``, shown as one stage of ``progress``."""
    return steps if progress is None else progress.track(steps, description=stage)
