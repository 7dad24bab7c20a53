"""`PiClassifier` and `PiRegressor`: infinitely wide networks that learn features, for tables."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from mupi.checks import fail
from mupi.estimators.conventions import TableClassifier, TableRegressor
from mupi.estimators.held_out import average, mixture
from mupi.estimators.pi_ensemble import cross_entropy, half_square
from mupi.estimators.pi_mixture import PiEstimator
from mupi.estimators.probabilities import calibrate, log_probabilities
from mupi.estimators.table import Table, checked_weight, dense
from mupi.estimators.targets import read_numbers


class PiClassifier(PiEstimator, TableClassifier):
    """Classification by networks of infinite width that learn features.

    π-limits (Yang, Santacroce & Hu 2022) at constant memory, `networks` of them side by side, each on all rows but its
    part; training ends where what was left out is predicted best. With them are mixed kernels at infinite width of the
    same columns, and in the metric that the π-limits have learned (`metric_`), whole or its diagonal, as of a recursive
    feature machine (Radhakrishnan et al. 2024); the metric of a left-out row is of the network that has not seen it.
    Shares of the mixture are those under which left-out rows are most probable, so that a table whose features pay for
    themselves is left to the networks, and one of few rows to the kernels. Columns are standardized.

    >>> import numpy as np
    >>> from mupi.estimators import PiClassifier
    >>> X = np.random.RandomState(0).standard_normal((500, 8))
    >>> y = X[:, 0] * X[:, 1] > 0  # two columns of eight matter
    >>> model = PiClassifier(rank=8, networks=2, steps=200, random_state=0).fit(X[:300], y[:300])
    >>> bool(model.score(X[300:], y[300:]) > 0.9), bool(model.feature_importances_[:2].sum() > 0.9)
    (True, True)

    Args:
        rank: r of the π-limits.
        depth: Their hidden layers.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        degree: Of their Hermite features: exact for polynomials of that degree, and near for others: `error_report`.
        lr: Learning rate; it does not depend on the table's size, as nothing has a width.
        first: The first layer's multiplier of it: what it may look at.
        weight_decay: Of all weights.
        batch_size: Rows a step.
        steps: Steps of each network, at most; None for 25 passes through the rows, and 1,000 at least.
        networks: π-limits, each of which leaves out its part of the rows.
        kernels: Whether kernels (`mupi.NNGP`) are mixed in, which take memory of the square of the number of rows.
        random_state: Seed of parts, initial values and orders.
        verbose: Whether to show progress in a terminal.

    Attributes:
        classes_: The labels, sorted.
        feature_importances_: How far outputs move with each standardized column: the metric's diagonal, of sum 1.
        metric_: E Σ_c ∇f_c ∇f_cᵀ of the π-limits: see `mupi.estimators.importances.gradient_outer_product`.
        shares_: Of the mixture, by the model.
        steps_: After how many steps training was best.
        held_out_losses_: The log loss of left-out rows as training went on.
        n_features_in_: The number of columns.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PiClassifier":
        """Fit to labeled rows.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: A label for each row.
            sample_weight: What each row counts; None for 1. A weight of 2 is the same as the row twice.

        Raises:
            ValueError: For entries that are not finite, targets that are no labels, or one class only.
            FloatingPointError: If training diverges: lower ``lr``.
        """
        X, y, weight = self._labeled(X, y, sample_weight)

        def judge(f: np.ndarray, rows: Table) -> float:
            return calibrate(f, self._prior, rows.y + self._prior, rows.weight)[1]

        self._fit_models(X, y, weight, cross_entropy(self._prior), judge)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "PiClassifier":
        """Train the π-limits on these rows once, for data that come in parts; a `fit` before is gone on from.

        Nothing is held out: there are no kernels in it, and probabilities are as sharp as training made them. Columns
        are standardized as the first part's are.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: A label for each row.
            classes: All labels there will be; needed in the first call.
            sample_weight: What each row counts.

        Raises:
            ValueError: As `fit`; if ``classes`` are missing, or a label is none of them.
        """
        name, first = type(self).__name__, not hasattr(self, "_learners")
        X, y = validate_data(self, X, y, dtype=np.float64, accept_sparse="csr", reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                fail(f"{name}.partial_fit(classes=...)", "all labels there will be, in the first call", None)
            self.classes_ = np.unique(classes)
            self._prior = np.full(len(self.classes_), 1 / len(self.classes_))
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            fail(f"{name}.partial_fit(y)", f"of the classes {self.classes_.tolist()}", unknown.tolist())
        one_hot = (np.asarray(y)[:, None] == self.classes_).astype(np.float64)
        weight = checked_weight(self, sample_weight, X)
        self._pass(dense(X), one_hot - self._prior, weight, cross_entropy(self._prior))
        return self

    def _shares(self, held_out: list[np.ndarray], rows: Table) -> tuple[np.ndarray, list[float]]:
        y = rows.y + self._prior
        sharpness = [calibrate(f, self._prior, y, rows.weight)[0] for f in held_out]
        logs = [log_probabilities(f, self._prior, β) for f, β in zip(held_out, sharpness, strict=True)]
        return mixture(np.stack([(y * np.exp(log)).sum(1) for log in logs]), rows.weight), sharpness

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of ``classes_``: calibrated on rows that were left out.

        Args:
            X: Rows with the columns of `fit`.
        """
        x = self._rows(X)
        probabilities = [
            share * np.exp(log_probabilities(model.predict(x), self._prior, β)) for model, share, β in self._models
        ]
        return np.sum(probabilities, 0)


class PiRegressor(PiEstimator, TableRegressor):
    """Regression by networks of infinite width that learn features: see `PiClassifier`.

    The shares of its models are of least squared error on left-out rows.

    >>> from sklearn.datasets import make_friedman1
    >>> from mupi.estimators import PiRegressor
    >>> X, y = make_friedman1(300, random_state=0)  # five columns of ten matter
    >>> model = PiRegressor(rank=8, networks=2, steps=100, random_state=0).fit(X[:200], y[:200])
    >>> bool(model.score(X[200:], y[200:]) > 0.9), bool(model.feature_importances_[:5].sum() > 0.9)
    (True, True)

    Args:
        rank: r of the π-limits.
        depth: Their hidden layers.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        degree: Of their Hermite features: exact for polynomials of that degree, and near for others: `error_report`.
        lr: Learning rate; it does not depend on the table's size, as nothing has a width.
        first: The first layer's multiplier of it: what it may look at.
        weight_decay: Of all weights.
        batch_size: Rows a step.
        steps: Steps of each network, at most; None for 25 passes through the rows, and 1,000 at least.
        networks: π-limits, each of which leaves out its part of the rows.
        kernels: Whether kernels (`mupi.NNGP`) are mixed in, which take memory of the square of the number of rows.
        random_state: Seed of parts, initial values and orders.
        verbose: Whether to show progress in a terminal.

    Attributes:
        feature_importances_: How far outputs move with each standardized column: the metric's diagonal, of sum 1.
        metric_: E Σ_c ∇f_c ∇f_cᵀ of the π-limits: see `mupi.estimators.importances.gradient_outer_product`.
        shares_: Of the average, by the model.
        steps_: After how many steps training was best.
        held_out_losses_: The squared error of left-out rows as training went on, in units of the targets' variance.
        n_features_in_: The number of columns.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PiRegressor":
        """Fit to rows with numbers, integers too.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: Numbers (n,), or several outputs (n, k).
            sample_weight: What each row counts; None for 1. A weight of 2 is the same as the row twice.

        Raises:
            ValueError: For entries that are not finite.
            FloatingPointError: If training diverges: lower ``lr``.
        """
        self._fit_models(*self._numbers(X, y, sample_weight), half_square, mean_square)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PiRegressor":
        """Train the π-limits on these rows once, for data that come in parts; a `fit` before is gone on from.

        Nothing is held out, and there are no kernels in it. Columns and targets are standardized as the first part's
        are.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: Numbers (n,), or several outputs (n, k).
            sample_weight: What each row counts.

        Raises:
            ValueError: As `fit`; for other columns or outputs than before.
        """
        first = not hasattr(self, "_learners")
        X, y = validate_data(
            self, X, y, dtype=np.float64, accept_sparse="csr", y_numeric=True, multi_output=True, reset=first
        )
        weight = checked_weight(self, sample_weight, X)
        if first:
            _, self._units = read_numbers(y, weight)
        y = np.asarray(y, np.float64).reshape(len(y), -1)
        if y.shape[1] != len(self._units.mean):
            fail(f"{type(self).__name__}.partial_fit(y)", f"of {len(self._units.mean)} outputs, as before", y.shape[1])
        self._pass(dense(X), (y - self._units.mean) / self._units.std, weight, half_square)
        return self

    def _shares(self, held_out: list[np.ndarray], rows: Table) -> tuple[np.ndarray, list[float]]:
        return average(np.stack(held_out), rows.y, rows.weight), [1.0] * len(held_out)

    def predict(self, X: Any) -> np.ndarray:
        """The mean of a target at each row.

        Args:
            X: Rows with the columns of `fit`.
        """
        x = self._rows(X)
        return self._units.own(np.sum([share * model.predict(x) for model, share, _ in self._models], 0))


def mean_square(f: Float[np.ndarray, "n k"], rows: Table) -> float:
    """The weighted mean of squared errors."""
    return float(rows.weight @ np.square(f - rows.y).sum(1) / rows.weight.sum())
