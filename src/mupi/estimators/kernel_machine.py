"""Kernel regression on a table, whose network and ridge are those of the best leave-one-out predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.estimators.leave_one_out import LeftOut, left_out
from mupi.estimators.table import Table
from mupi.kernels import KernelRegression
from mupi.kernels.given import Kernel

SELECTION_ROWS = 2000
"""Rows on which networks and ridges are compared, at most: a few seconds each."""

SIGMA_B = 0.3
"""Of a kernel's biases, beside σ_w = √2."""

DOUBLE_ROWS = 2000
"""Up to so many rows all is computed in float64, beyond in float32, with the residual taken in float64; but for
variances, which float32 does not resolve among so many rows."""


@dataclass(frozen=True)
class Judged:
    """Leave-one-out predictions, and how good they are.

    Attributes:
        loss: The less, the better.
        detail: What was fitted to them, of the judge's own kind: a sharpness, or an amplitude.
        of_targets: The loss of the targets themselves, where ``loss`` is that of means over rows which were the same.
    """

    loss: float
    detail: float
    of_targets: float


Judge = Callable[[LeftOut, Table], Judged]


@dataclass(frozen=True)
class FittedRegression:
    """A kernel regression that takes arrays.

    Attributes:
        regression: What predicts.
        dtype: Of its inputs.
        table: The rows that it has been fitted to.
    """

    regression: KernelRegression
    dtype: torch.dtype
    table: Table

    @torch.no_grad()
    def predict(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """Outputs of rows."""
        return self.regression.predict(_tensor(x, self.dtype)).double().numpy()

    @torch.no_grad()
    def variance(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
        """Var f(x) + λ, of what a row of the mean weight has as its target, in units of the process's amplitude.

        Where rows were the same, that is a mean over them: what single targets vary about it is not in λ.
        """
        _, std = self._exact.predict(_tensor(x, torch.float64), return_std=True)
        return std.square().numpy() + self._exact.regularizer

    @cached_property
    def _exact(self) -> KernelRegression:
        """The same in float64, which is solved when it is first asked for."""
        if self.dtype == torch.float64:
            return self.regression
        return _regression(self.regression.kernel, self.regression.ridge, self.table, torch.float64)


def fit_regression(kernel: Kernel, ridge: float, table: Table) -> FittedRegression:
    """The regression on all rows, in as many digits as their number allows.

    Args:
        kernel: Of two matrices of rows.
        ridge: λ in units of the kernel's mean diagonal.
        table: Rows.
    """
    dtype = torch.float64 if len(table.x) <= DOUBLE_ROWS else torch.float32
    return FittedRegression(_regression(kernel, ridge, table, dtype), dtype, table)


def _regression(kernel: Kernel, ridge: float, table: Table, dtype: torch.dtype) -> KernelRegression:
    x, y, weight = (_tensor(values, dtype) for values in (table.x, table.y, table.weight))
    return KernelRegression(kernel, ridge).fit(x, y, sample_weight=weight)


def compared_rows(n: int, random: np.random.RandomState) -> Int[np.ndarray, " m"]:
    """All rows, or as many as kernels are compared on.

    Args:
        n: How many rows there are.
        random: Draws them.
    """
    return np.arange(n) if n <= SELECTION_ROWS else np.sort(random.permutation(n)[:SELECTION_ROWS])


def _tensor(x: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).to(dtype)


@dataclass(frozen=True)
class KernelMachine:
    """The best of several kernels, fitted.

    Attributes:
        candidate: Which of the kernels it has.
        ridge: λ in units of the mean diagonal.
        judged: Its leave-one-out predictions.
        fitted: What predicts.
    """

    candidate: int
    ridge: float
    judged: Judged
    fitted: FittedRegression


def fit_kernel_machine(
    kernels: Sequence[Kernel],
    ridge: float | None,
    table: Table,
    judge: Judge,
    random: np.random.RandomState,
) -> KernelMachine:
    """The kernel and the ridge whose leave-one-out predictions are best, fitted to all rows.

    Args:
        kernels: To choose from.
        ridge: λ in units of the mean diagonal; None to choose it.
        table: Rows.
        judge: Of leave-one-out predictions.
        random: Draws the rows that are compared on, where there are more than `SELECTION_ROWS`.
    """
    few = table.take(compared_rows(len(table.x), random))
    x, y, weight = (torch.from_numpy(part) for part in (few.x, few.y, few.weight))
    best: tuple[Judged, int, float] | None = None
    for i, kernel in enumerate(kernels):
        with torch.no_grad():
            K = kernel(x, x)
        for found in left_out(K, y, weight, *(() if ridge is None else ((ridge,),))):
            judged = judge(found, few)
            if best is None or judged.loss < best[0].loss:
                best = judged, i, found.ridge
    assert best is not None
    judged, i, ridge = best
    return KernelMachine(i, ridge, judged, fit_regression(kernels[i], ridge, table))
