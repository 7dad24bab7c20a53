"""What estimators are fitted to: standardized columns, targets as numbers, one row for rows that are the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _check_sample_weight, validate_data

from mupi.checks import fail


@dataclass(frozen=True)
class Table:
    """Rows to learn from.

    Attributes:
        x: Standardized columns.
        y: Targets, as numbers: one-hot for classes.
        weight: What each row counts, positive, 1 in the mean; that of rows which were the same is the sum of theirs.
        scatter: Of targets of rows which were the same, the weighted mean squared distance from y; 0 if all differed.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n k"]
    weight: Float[np.ndarray, " n"]
    scatter: Float[np.ndarray, "n k"] | float = 0.0

    def take(self, rows: Int[np.ndarray, " m"]) -> "Table":
        """Some of the rows."""
        scatter = np.broadcast_to(self.scatter, self.y.shape)
        return Table(self.x[rows], self.y[rows], self.weight[rows], scatter[rows])

    def mean_scatter(self) -> Float[np.ndarray, " k"]:
        """s², the weighted mean of ``scatter``: what targets of rows that were the same vary, in each output."""
        return self.weight @ np.broadcast_to(self.scatter, self.y.shape) / self.weight.sum()


def checked_columns(estimator: Any, X: Any) -> Float[np.ndarray, "n d"]:
    """New rows as an array of float64, with the columns that the estimator was fitted to.

    Args:
        estimator: Fitted.
        X: An array, a data frame or a sparse matrix.

    Raises:
        ValueError: For other columns, or entries that are not finite.
    """
    return dense(validate_data(estimator, X, reset=False, dtype=np.float64, accept_sparse="csr"))


def dense(X: Any) -> Float[np.ndarray, "n d"]:
    """The same matrix, no longer sparse: networks read all columns, and standardizing moves their zeros."""
    return X if isinstance(X, np.ndarray) else X.toarray()


def checked_weight(estimator: Any, sample_weight: Any, X: Any) -> Float[np.ndarray, " n"]:
    """What each row counts, ones if it is not said.

    Args:
        estimator: For the message.
        sample_weight: As it came.
        X: The rows.

    Raises:
        ValueError: For weights that are not finite, negative or all zero.
    """
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        fail(f"{type(estimator).__name__}.fit(sample_weight=...)", "above 0 for some row", "zeros")
    return weight


def standardized(
    X: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"], weight: Float[np.ndarray, " n"]
) -> tuple[Table, StandardScaler]:
    """The rows that count, each once, in standardized columns.

    Rows with the same columns become one, with the mean of their targets, the scatter about it and the sum of their
    weights, and all are sorted. A weight of 2 is then the same as a row twice, nothing depends on the order of rows,
    and what is left out of a leave-one-out prediction has no copy left inside.

    Args:
        X: Columns in their own units.
        y: Targets, as numbers.
        weight: What each row counts.
    """
    kept = weight > 0
    X, y, weight = X[kept], y[kept], weight[kept]
    scaler = StandardScaler().fit(X, sample_weight=weight)
    rows, row = np.unique(X, axis=0, return_inverse=True)
    sums = np.bincount(row, weight)

    def merged(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "m k"]:
        """The weighted means over rows that are the same."""
        return np.stack([np.bincount(row, weight * column) for column in values.T], 1) / sums[:, None]

    means = merged(y)
    scatter = merged(np.square(y - means[row]))
    return Table(np.asarray(scaler.transform(rows)), means, sums / sums.mean(), scatter), scaler
