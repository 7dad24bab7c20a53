"""Kernel regression on a table, whose network and ridge are those of the best leave-one-out predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mupi.estimators.leave_one_out import LeftOut, left_out
from mupi.estimators.table import Table
from mupi.kernels import KernelRegression
from mupi.kernels.given import Kernel

SELECTION_ROWS = 2000
"""Rows on which networks and ridges are compared, at most: a few seconds each."""

DOUBLE_ROWS = 2000
"""Up to so many rows all is computed in float64, beyond in float32, with the residual taken in float64."""


@dataclass(frozen=True)
class Judged:
    """Leave-one-out predictions, and how good they are.

    Attributes:
        loss: The less, the better.
        detail: What was fitted to them, of the judge's own kind: a sharpness, or an amplitude.
    """

    loss: float
    detail: float


Judge = Callable[[LeftOut, Table], Judged]


@dataclass(frozen=True)
class KernelMachine:
    """A fitted regression.

    Attributes:
        candidate: Which of the kernels it has.
        ridge: λ in units of the mean diagonal.
        judged: Its leave-one-out predictions.
        regression: What predicts.
        dtype: Of its inputs.
    """

    candidate: int
    ridge: float
    judged: Judged
    regression: KernelRegression
    dtype: torch.dtype

    def predict(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """Outputs of standardized rows."""
        with torch.no_grad():
            return self.regression.predict(self._inputs(x)).double().numpy()

    def variance(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
        """Of a new target of weight 1, its noise included, in units of the process's amplitude."""
        with torch.no_grad():
            _, std = self.regression.predict(self._inputs(x), return_std=True)
        return std.double().square().numpy() + self.regression.regularizer

    def _inputs(self, x: Float[np.ndarray, "m d"]) -> Tensor:
        return torch.from_numpy(x).to(self.dtype)


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
    n = len(table.x)
    rows = np.arange(n) if n <= SELECTION_ROWS else np.sort(random.permutation(n)[:SELECTION_ROWS])
    few = Table(table.x[rows], table.y[rows], table.weight[rows])
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
    dtype = torch.float64 if n <= DOUBLE_ROWS else torch.float32
    regression = KernelRegression(kernels[i], ridge)
    x, y, weight = (torch.from_numpy(part).to(dtype) for part in (table.x, table.y, table.weight))
    regression.fit(x, y, sample_weight=weight)
    return KernelMachine(i, ridge, judged, regression, dtype)
