"""What estimators learn: class labels as one-hot numbers, or numbers in units of their own spread."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.multiclass import check_classification_targets

from mupi.checks import fail


@dataclass(frozen=True)
class Classes:
    """Labels of any kind.

    Attributes:
        labels: Sorted, each once.
        one_hot: A row for each sample.
        prior: The weighted share of each class.
    """

    labels: np.ndarray
    one_hot: Float[np.ndarray, "n k"]
    prior: Float[np.ndarray, " k"]


def read_classes(estimator: Any, y: Any, weight: Float[np.ndarray, " n"]) -> Classes:
    """The classes of labels, of which every row with a weight has one.

    Args:
        estimator: For messages.
        y: Labels: strings, integers, bools.
        weight: What each row counts.

    Raises:
        ValueError: For numbers that are no labels, or only one class.
    """
    check_classification_targets(y)
    labels, code = np.unique(np.asarray(y)[weight > 0], return_inverse=True)
    if len(labels) < 2:
        name = type(estimator).__name__
        fail(f"{name}.fit(y)", "of at least two classes among the rows that count", f"one class, {labels.tolist()}")
    one_hot = np.zeros((len(weight), len(labels)))
    one_hot[np.flatnonzero(weight > 0), code] = 1
    return Classes(labels, one_hot, weight @ one_hot / weight.sum())


@dataclass(frozen=True)
class Units:
    """Units of numbers to be learned.

    Attributes:
        mean: Of each output.
        std: Of each output; 1 for one that does not vary.
        single: Whether targets came as one number a row, without an axis of outputs.
    """

    mean: Float[np.ndarray, " k"]
    std: Float[np.ndarray, " k"]
    single: bool

    def own(self, f: Float[np.ndarray, "n k"]) -> np.ndarray:
        """Predictions in the units of the targets, in their shape."""
        y = self.mean + self.std * f
        return y[:, 0] if self.single else y


def read_numbers(y: np.ndarray, weight: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "n k"], Units]:
    """Targets with weighted mean 0 and standard deviation 1, and their units.

    Args:
        y: Checked: one number a row, or a row of them.
        weight: What each row counts.
    """
    values = np.asarray(y, np.float64).reshape(len(y), -1)
    mean = weight @ values / weight.sum()
    std = np.sqrt(weight @ np.square(values - mean) / weight.sum())
    constant = np.ptp(values[weight > 0], 0) == 0  # also where rounding of the mean leaves a deviation
    std[constant | (std == 0)] = 1.0
    return (values - mean) / std, Units(mean, std, np.ndim(y) == 1)
