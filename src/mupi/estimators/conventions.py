"""What all estimators do with rows, labels and numbers, in scikit-learn's conventions."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from mupi.activations import ReLU
from mupi.estimators.table import checked_columns, checked_weight, dense
from mupi.estimators.targets import read_classes, read_numbers

Arrays = tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n k"], Float[np.ndarray, " n"]]
"""Columns, targets as numbers, and what each row counts."""


class TableEstimator(BaseEstimator):
    """An estimator that standardizes columns."""

    activation: Any
    _scaler: StandardScaler

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def _activation(self) -> Any:
        """φ, ReLU if it is not said."""
        return ReLU() if self.activation is None else self.activation

    def _rows(self, X: Any) -> Float[np.ndarray, "m d"]:
        """New rows, standardized."""
        check_is_fitted(self)
        return np.asarray(self._scaler.transform(checked_columns(self, X)))


class TableClassifier(ClassifierMixin, TableEstimator):
    """One that learns centered one-hot classes."""

    def _labeled(self, X: Any, y: Any, sample_weight: Any) -> Arrays:
        """What is to be learned; ``classes_`` and the prior are set."""
        X, y = validate_data(self, X, y, dtype=np.float64, accept_sparse="csr")
        weight = checked_weight(self, sample_weight, X)
        classes = read_classes(self, y, weight)
        self.classes_, self._prior = classes.labels, classes.prior
        return dense(X), classes.one_hot - classes.prior, weight

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of ``classes_``: calibrated on rows that were left out.

        Args:
            X: Rows with the columns of `fit`.
        """
        raise NotImplementedError  # of what is fitted

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        return np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row.

        Args:
            X: Rows with the columns of `fit`.
        """
        best = self.predict_log_proba(X).argmax(1)
        return self.classes_[best]


class TableRegressor(RegressorMixin, MultiOutputMixin, TableEstimator):
    """One that learns numbers in units of their spread."""

    def _numbers(self, X: Any, y: Any, sample_weight: Any) -> Arrays:
        """What is to be learned; its units are set."""
        X, y = validate_data(self, X, y, dtype=np.float64, accept_sparse="csr", y_numeric=True, multi_output=True)
        weight = checked_weight(self, sample_weight, X)
        values, self._units = read_numbers(y, weight)
        return dense(X), values, weight
