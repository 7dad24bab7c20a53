"""Methods for tables, each with its columns prepared and its settings chosen on inner folds as is usual for it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from mupi.data.keel import KeelTable
from mupi.estimators import (
    NNGPClassifier,
    NNGPRegressor,
    NTKClassifier,
    NTKRegressor,
    PiClassifier,
    PiRegressor,
)
from mupi.recipes.tables.number_tables import NumberTable

MethodName = Literal["pi-limit", "ntk", "nngp", "forest", "svm", "boosting", "mlp", "xrfm"]

INNER_FOLDS = 3
"""On which settings are chosen."""

SHOWN: dict[str, str] = {
    "pi-limit": "π-limit",
    "ntk": "NTK",
    "nngp": "NNGP",
    "forest": "random forest",
    "svm": "RBF-SVM",
    "boosting": "gradient boosting",
    "mlp": "scikit-learn's MLP",
    "xrfm": "xRFM",
}


class Xrfm(BaseEstimator):
    """xRFM (Beaglehole et al. 2025), settings chosen on a fifth of the rows.

    As its documentation advises: standardized columns, a Laplace kernel of Euclidean or ℓ_p distances, bandwidth,
    exponent and ridge from a small grid, at its own number of iterations.

    Args:
        seed: Of the rows that are held out.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed

    def _fit(self, X: np.ndarray, y: np.ndarray, metric: str, strata: np.ndarray | None) -> None:
        """Keep the model that predicts held-out rows best."""
        rows = np.arange(len(y))
        seen, left = train_test_split(rows, test_size=0.2, random_state=self.seed, stratify=strata)
        X = X.astype(np.float32)
        x, held_out, y, answers = X[seen], X[left], y[seen], y[left]
        made: Any = import_module("xrfm").xRFM
        best = -np.inf
        for kernel in ("l2_high_dim", "l1"):
            for bandwidth in (3.0, 10.0, 30.0):
                for reg in (1e-3, 1e-1):
                    model = made(
                        {
                            "model": {"kernel": kernel, "bandwidth": bandwidth, "bandwidth_mode": "adaptive"},
                            "fit": {"reg": reg, "iters": 3, "verbose": False, "early_stop_rfm": True},
                        },
                        device="cpu", tuning_metric=metric, verbose=False, random_state=self.seed,
                    )  # fmt: skip
                    model.fit(x, y[:, None], held_out, answers[:, None])
                    found = np.asarray(model.predict(held_out)).ravel()
                    error = (found != answers) if metric == "accuracy" else (found - answers) ** 2
                    score = -float(error.mean())
                    if score > best:
                        best, self._model = score, model

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict(X.astype(np.float32))).ravel()


class XrfmClassifier(ClassifierMixin, Xrfm):
    """Of classes, by accuracy."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "XrfmClassifier":
        """See `Xrfm`."""
        self.classes_, code = np.unique(y, return_inverse=True)
        self._fit(X, code, "accuracy", _strata(code))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Classes."""
        return self.classes_[self._predict(X).astype(int)]


class XrfmRegressor(RegressorMixin, Xrfm):
    """Of numbers, by squared error."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "XrfmRegressor":
        """See `Xrfm`."""
        self._fit(X, y.astype(np.float32), "mse", None)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Numbers."""
        return self._predict(X)


def _strata(code: np.ndarray) -> np.ndarray | None:
    """Classes to draw alike, unless one has a single row."""
    return code if np.bincount(code).min() > 1 else None


def xrfm_is_there() -> bool:
    """Whether the package xrfm can be imported."""
    try:
        import_module("xrfm")
    except ImportError:
        return False
    return True


def _grid(model: BaseEstimator, **values: Any) -> GridSearchCV:
    return GridSearchCV(model, values, cv=INNER_FOLDS)


def _classifiers(d: int, seed: int) -> dict[str, Callable[[], Any]]:
    """How each method is made for tables of d prepared columns."""
    no: Any = False  # which scikit-learn's annotation of early_stopping does not know
    return {
        "pi-limit": lambda: PiClassifier(random_state=seed),
        "ntk": lambda: NTKClassifier(random_state=seed),
        "nngp": lambda: NNGPClassifier(random_state=seed),
        "forest": lambda: _grid(RandomForestClassifier(300, random_state=seed), max_features=["sqrt", 0.5]),
        "svm": lambda: _grid(SVC(), C=[0.1, 1, 10, 100, 1000], gamma=[g / d for g in (0.01, 0.1, 1.0, 10.0)]),
        "boosting": lambda: _grid(
            HistGradientBoostingClassifier(random_state=seed, early_stopping=no),
            learning_rate=[0.05, 0.2], max_leaf_nodes=[4, 16],
        ),
        "mlp": lambda: _grid(
            MLPClassifier((256, 256), early_stopping=True, n_iter_no_change=15, random_state=seed),
            alpha=[1e-4, 1e-1], learning_rate_init=[1e-3, 5e-3],
        ),
        "xrfm": lambda: XrfmClassifier(seed),
    }  # fmt: skip


def _regressors(d: int, seed: int) -> dict[str, Callable[[], Any]]:
    """The same for numbers, with the same grids; those that need it get targets of unit variance."""
    no: Any = False
    layers = (256, 256)

    def standardized(model: BaseEstimator) -> BaseEstimator:
        return TransformedTargetRegressor(model, transformer=StandardScaler())

    return {
        "pi-limit": lambda: PiRegressor(random_state=seed),
        "ntk": lambda: NTKRegressor(random_state=seed),
        "nngp": lambda: NNGPRegressor(random_state=seed),
        "forest": lambda: _grid(RandomForestRegressor(300, random_state=seed), max_features=["sqrt", 0.5, 1.0]),
        "svm": lambda: standardized(
            _grid(
                SVR(), C=[0.1, 1, 10, 100, 1000], gamma=[g / d for g in (0.01, 0.1, 1.0, 10.0)], epsilon=[0.01, 0.1]
            )
        ),
        "boosting": lambda: _grid(
            HistGradientBoostingRegressor(random_state=seed, early_stopping=no),
            learning_rate=[0.05, 0.2], max_leaf_nodes=[4, 16],
        ),
        "mlp": lambda: standardized(
            _grid(
                MLPRegressor(hidden_layer_sizes=layers, early_stopping=True, n_iter_no_change=15, random_state=seed),
                alpha=[1e-4, 1e-1], learning_rate_init=[1e-3, 5e-3],
            )
        ),
        "xrfm": lambda: standardized(XrfmRegressor(seed)),
    }  # fmt: skip


def pipeline(name: str, table: KeelTable | NumberTable, seed: int) -> Any:
    """The method with its columns: missing numbers are means, missing words the most frequent one, words one-hot.

    Args:
        name: Of the method.
        table: To know which columns are numbers, and whether numbers are learned.
        seed: Of whatever the method draws.
    """
    if isinstance(table, NumberTable):
        return make_pipeline(StandardScaler(), _regressors(table.x.shape[1], seed)[name]())
    unknown: Any = None  # likewise
    p, q = table.numbers.shape[1], table.categories.shape[1]
    columns = make_column_transformer(
        (SimpleImputer(keep_empty_features=True), list(range(p))),
        (
            make_pipeline(
                SimpleImputer(missing_values=unknown, strategy="most_frequent", keep_empty_features=True),
                OneHotEncoder(handle_unknown="ignore", drop="if_binary", sparse_output=False),
            ),
            list(range(p, p + q)),
        ),
    )
    words = sum(max(1, len(set(column)) - (len(set(column)) == 2)) for column in table.categories.T)
    return make_pipeline(columns, StandardScaler(), _classifiers(p + words, seed)[name]())
