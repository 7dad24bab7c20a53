"""Kernel regression in a metric of the columns that a network has learned, or in none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from mupi.estimators.kernel_machine import FittedRegression, fit_regression
from mupi.estimators.table import Table
from mupi.kernels.given import Kernel

RIDGES = tuple(10.0 ** (k / 2) for k in range(-8, 4))
"""10⁻⁴ … 10^1.5, relative to the kernel's mean diagonal."""

Root = Float[np.ndarray, "d d"]
"""P of a metric: the kernel reads x P."""


def metric_root(metric: Float[np.ndarray, "d d"]) -> Root:
    """M^{1/2}, of as large a trace of its square as the identity's: columns stay of size one."""
    d = len(metric)
    λ, U = np.linalg.eigh(metric)
    root = (U * np.sqrt(np.maximum(λ, 0))) @ U.T
    size = np.square(root).sum()
    return root * np.sqrt(d / size) if size > 0 else np.eye(d)


@dataclass(frozen=True)
class MetricMachine:
    """Kernel regression on x P.

    Attributes:
        root: P, which rows are multiplied with.
        fitted: What predicts.
    """

    root: Root
    fitted: FittedRegression

    def predict(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """Outputs of standardized rows."""
        return self.fitted.predict(x @ self.root)


@torch.no_grad()
def held_out_by_ridge(
    kernel: Kernel, roots: Sequence[Root], table: Table, part: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "ridges n k"]:
    """What is predicted of each row by a regression on the other parts, in a metric that was learned without it.

    Args:
        kernel: Of two matrices of rows.
        roots: P for each part that is left out.
        table: Rows; their targets are centered.
        part: To which part each row belongs.
    """
    found = np.empty((len(RIDGES), *table.y.shape))
    x, y = torch.from_numpy(table.x), torch.from_numpy(table.y)
    weight = torch.from_numpy(table.weight).sqrt()[:, None]
    for i, P in enumerate(roots):
        inside, left = np.flatnonzero(part != i), np.flatnonzero(part == i)
        root, seen, new = weight[inside], x[inside] @ torch.from_numpy(P), x[left] @ torch.from_numpy(P)
        K = kernel(seen, seen)
        scale = float(K.diagonal().mean())
        λ, Q = torch.linalg.eigh(root * K * root.T)
        projected = Q.T @ (root * y[inside])
        cross = (kernel(new, seen) * root.T) @ Q
        for j, ridge in enumerate(RIDGES):
            found[j, left] = (cross @ (projected / (λ.clamp_min(0) + ridge * scale)[:, None])).numpy()
    return found


def fit_metric_machine(kernel: Kernel, root: Root, ridge: float, table: Table) -> MetricMachine:
    """The regression on all rows.

    Args:
        kernel: Of two matrices of rows.
        root: P, which rows are multiplied with.
        ridge: λ in units of the kernel's mean diagonal.
        table: Rows; their targets are centered.
    """
    return MetricMachine(root, fit_regression(kernel, ridge, Table(table.x @ root, table.y, table.weight)))


def best_ridge(
    held_out: Float[np.ndarray, "ridges n k"], judge: Callable[[Float[np.ndarray, "n k"]], float]
) -> tuple[float, Float[np.ndarray, "n k"]]:
    """The ridge whose held-out predictions are best, and these.

    Args:
        held_out: For each of `RIDGES`.
        judge: How bad predictions are.
    """
    j = min(range(len(held_out)), key=lambda j: judge(held_out[j]))
    return RIDGES[j], held_out[j]
