"""Classifiers and regressors by the kernels of infinitely wide networks that do not learn features."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from mupi.checks import fail, positive_int
from mupi.estimators.conventions import TableClassifier, TableEstimator, TableRegressor
from mupi.estimators.kernel_machine import SIGMA_B, Judge, Judged, fit_kernel_machine
from mupi.estimators.leave_one_out import LeftOut
from mupi.estimators.probabilities import calibrate, log_probabilities
from mupi.estimators.table import Table, standardized
from mupi.nets import NNGP, NTK


class KernelEstimator(TableEstimator):
    """What `NTKClassifier`, `NTKRegressor`, `NNGPClassifier` and `NNGPRegressor` have in common."""

    _kernel: type[NNGP | NTK]

    def __init__(
        self,
        depth: Any = (1, 2, 3),
        activation: Any = None,
        *,
        ridge: Any = None,
        random_state: Any = None,
    ):
        self.depth = depth
        self.activation = activation
        self.ridge = ridge
        self.random_state = random_state

    def _fit_machine(self, X: Any, y: Any, weight: Any, judge: Judge) -> Table:
        """Fit to numbers; returns the rows, each once."""
        name = type(self).__name__
        depths = self.depth if isinstance(self.depth, Sequence) else (self.depth,)
        depths = [positive_int(f"{name}(depth=...)", depth) for depth in depths]
        if not depths:
            fail(f"{name}(depth=...)", "a number of hidden layers, or several to choose from", self.depth)
        if self.ridge is not None and not (isinstance(self.ridge, int | float) and 0 < self.ridge < math.inf):
            fail(f"{name}(ridge=...)", "a finite number > 0, or None to choose it", self.ridge)
        kernels = [self._kernel(depth, self._activation, sigma_b=SIGMA_B) for depth in depths]
        table, self._scaler = standardized(X, y, weight)
        machine = fit_kernel_machine(kernels, self.ridge, table, judge, check_random_state(self.random_state))
        self._machine = machine
        self.depth_, self.ridge_, self.kernel_ = depths[machine.candidate], machine.ridge, kernels[machine.candidate]
        self.leave_one_out_loss_ = machine.judged.of_targets
        return table


class KernelClassifier(KernelEstimator, TableClassifier):
    """Regression on centered one-hot classes, with calibrated probabilities."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "KernelClassifier":
        """Fit to labeled rows.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: A label for each row.
            sample_weight: What each row counts; None for 1. A weight of 2 is the same as the row twice.

        Raises:
            ValueError: For entries that are not finite, targets that are no labels, or one class only.
        """
        X, y, weight = self._labeled(X, y, sample_weight)
        prior = self._prior

        def judge(found: LeftOut, rows: Table) -> Judged:
            sharpness, loss = calibrate(found.mean.numpy(), prior, rows.y + prior, rows.weight)
            # It is linear in targets: that of their means is their mean.
            return Judged(loss, sharpness, loss)

        self._fit_machine(X, y, weight, judge)
        return self

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        x = self._rows(X)
        return log_probabilities(self._machine.fitted.predict(x), self._prior, self._machine.judged.detail)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of ``classes_``: calibrated on leave-one-out predictions.

        Args:
            X: Rows with the columns of `fit`.
        """
        return np.exp(self.predict_log_proba(X))


class KernelRegressor(KernelEstimator, TableRegressor):
    """The posterior of a Gaussian process with the kernel as covariance."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "KernelRegressor":
        """Fit to rows with numbers, integers too.

        Args:
            X: An array, data frame or sparse matrix of numbers, (n, d).
            y: Numbers (n,), or several outputs (n, k).
            sample_weight: What each row counts: the noise of its target has variance λ over its weight
                in units of the mean one; None for 1. A weight of 2 is the same as the row twice.

        Raises:
            ValueError: For entries that are not finite.
        """
        table = self._fit_machine(*self._numbers(X, y, sample_weight), log_density)
        self._scatter = np.sqrt(table.mean_scatter())
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of a target at each row and, if asked for, its standard deviation, noise included.

        Its variance is a² (Var f(x) + λ) + s². Rows that are the same are learned as one, of weight w_i in units of the
        mean one, with the mean of their targets. This has noise a² λ/w_i, and targets vary about it by s_i², their
        scatter: both are in the noise of a target, of which the mean over rows is Σ_i w_i (a² λ/w_i + s_i²)/Σ_i w_i =
        a² λ + s². Of n targets of noise σ² at m distinct rows, a² λ has to be σ² m/n, and s² is σ² (1 − m/n) in
        expectation; where all rows differ, s = 0.

        The amplitude a is that under which left-out means are as far off as expected. Outputs share what is unknown of
        f, and λ, each in its own units; s is of each output.

        Args:
            X: Rows with the columns of `fit`.
            return_std: Whether to return standard deviations too, in the shape of the mean.
        """
        x = self._rows(X)
        mean = self._units.own(self._machine.fitted.predict(x))
        if not return_std:
            return mean
        of_mean = self._machine.judged.detail * np.sqrt(self._machine.fitted.variance(x))[:, None]
        std = np.hypot(of_mean, self._scatter) * self._units.std
        return mean, std[:, 0] if self._units.single else std


def log_density(found: LeftOut, rows: Table) -> Judged:
    """−log p of left-out rows under N(mean, a² variance), the mean over them, at the best amplitude a.

    Of rows that were the same, only the mean target tells of f, so that kernels and ridges are compared by it. The loss
    of targets themselves is the weighted mean over rows of −log N(y; mean_i, v_i) with the variance of a new target,
    v_i = a² (variance_i − λ/w_i + λ/w̄) + s²: ½ (log 2πv_i + ((y_i − mean_i)² + s_i²)/v_i). Where no row was there
    twice, and all weigh the same, the two are one.

    Args:
        found: Predictions of rows, each without it.
        rows: What was left out: mean targets y_i, weights w_i of mean w̄, and scatters s_i² of mean s².
    """
    variance, weight = found.variance.numpy()[:, None], rows.weight[:, None]
    square = np.square(found.mean.numpy() - rows.y)
    amplitude = max(float(np.sqrt((square / variance).mean())), 1e-150)
    loss = math.log(amplitude) + 0.5 * float(np.log(variance).mean()) + 0.5 * (1 + math.log(2 * math.pi))
    noise = found.regularizer / weight.mean()
    # Var f is positive, also where little is left of it beside the noise of a row of hardly any weight.
    new = np.maximum(variance - found.regularizer / weight + noise, noise)
    v = amplitude**2 * new + rows.mean_scatter()
    each = np.log(2 * math.pi * v) + (square + rows.scatter) / v
    return Judged(loss, amplitude, 0.5 * float((weight * each).mean() / weight.mean()))


class NTKClassifier(KernelClassifier):
    """Classification by a network of infinite width that is trained without learning features.

    Regression on classes by the neural tangent kernel of a perceptron (Jacot et al. 2018), ridge and depth those of
    the best leave-one-out predictions, on which probabilities are calibrated too; on at most 2,000 rows, drawn by
    ``random_state``. Columns are standardized. Time grows as the cube of the number of rows and memory as its square:
    20,000 rows take 1.6 GB.

    >>> from sklearn.datasets import load_iris
    >>> from mupi.estimators import NTKClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> NTKClassifier().fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True

    Args:
        depth: Hidden layers, or several numbers of them to choose from.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        ridge: λ relative to the kernel's mean diagonal; None to choose it.
        random_state: Seed, for tables of more rows than are compared on.

    Attributes:
        classes_: The labels, sorted.
        depth_: The number of hidden layers that was chosen.
        ridge_: The ridge that was chosen.
        kernel_: The kernel, a `mupi.NTK`, of standardized rows.
        leave_one_out_loss_: The log loss of left-out rows.
        n_features_in_: The number of columns.
    """

    _kernel = NTK


class NTKRegressor(KernelRegressor):
    """Regression by a network of infinite width that is trained without learning features.

    The posterior mean of a Gaussian process with the neural tangent kernel of a perceptron (Jacot et al. 2018), depth
    and ridge those under which left-out rows are most probable, each with the mean of its targets where it is there
    more than once; what targets vary about it is noise, for intervals to hold. See `NTKClassifier`.

    >>> from sklearn.datasets import load_diabetes
    >>> from mupi.estimators import NTKRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> mean, std = NTKRegressor().fit(X[::2], y[::2]).predict(X[1::2], return_std=True)
    >>> bool(0.8 < (abs(y[1::2] - mean) < 1.64 * std).mean() < 0.97)  # of 90 % intervals
    True

    Args:
        depth: Hidden layers, or several numbers of them to choose from.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        ridge: λ relative to the kernel's mean diagonal; None to choose it.
        random_state: Seed, for tables of more rows than are compared on.

    Attributes:
        depth_: The number of hidden layers that was chosen.
        ridge_: The ridge that was chosen.
        kernel_: The kernel, a `mupi.NTK`, of standardized rows.
        leave_one_out_loss_: Minus the mean log density of left-out targets, in units of their standard deviation.
        n_features_in_: The number of columns.
    """

    _kernel = NTK


class NNGPClassifier(KernelClassifier):
    """Classification by an infinitely wide Bayesian network: `NTKClassifier` with the kernel of Lee et al. (2018).

    >>> from sklearn.datasets import load_iris
    >>> from mupi.estimators import NNGPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> NNGPClassifier().fit(X[::2], y[::2]).predict_proba(X[:2]).round(1).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]

    Args:
        depth: Hidden layers, or several numbers of them to choose from.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        ridge: λ relative to the kernel's mean diagonal; None to choose it.
        random_state: Seed, for tables of more rows than are compared on.

    Attributes:
        classes_: The labels, sorted.
        depth_: The number of hidden layers that was chosen.
        ridge_: The ridge that was chosen.
        kernel_: The kernel, a `mupi.NNGP`, of standardized rows.
        leave_one_out_loss_: The log loss of left-out rows.
        n_features_in_: The number of columns.
    """

    _kernel = NNGP


class NNGPRegressor(KernelRegressor):
    """Regression by an infinitely wide Bayesian network: `NTKRegressor` with the kernel of Lee et al. (2018).

    >>> import numpy as np
    >>> from mupi.estimators import NNGPRegressor
    >>> x = np.linspace(-3, 3, 40)[:, None]
    >>> mean, std = NNGPRegressor().fit(x, np.sin(x[:, 0])).predict(np.array([[0.0], [9.0]]), return_std=True)
    >>> abs(mean[0]) < 0.1 and bool(std[1] > 5 * std[0])
    True

    Args:
        depth: Hidden layers, or several numbers of them to choose from.
        activation: φ, a `mupi.Activation` or any function; None for ReLU.
        ridge: λ relative to the kernel's mean diagonal; None to choose it.
        random_state: Seed, for tables of more rows than are compared on.

    Attributes:
        depth_: The number of hidden layers that was chosen.
        ridge_: The ridge that was chosen.
        kernel_: The kernel, a `mupi.NNGP`, of standardized rows.
        leave_one_out_loss_: Minus the mean log density of left-out targets, in units of their standard deviation.
        n_features_in_: The number of columns.
    """

    _kernel = NNGP
