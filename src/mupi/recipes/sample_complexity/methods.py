"""Classifiers that learn features and such that do not, with what of them is chosen on training rows."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from mupi.data import Dataset
from mupi.estimators import NNGPClassifier, NTKClassifier
from mupi.nets import CENTERED
from mupi.recipes.comparison.choice import right
from mupi.recipes.sample_complexity.networks import HELD_OUT, Make, Training, fit_network, mup_network, pi_network
from mupi.recipes.sample_complexity.scores import Score
from mupi.recipes.sample_complexity.weighted import fit_weighted
from mupi.recipes.tables.methods import Xrfm

MethodName = Literal["nngp", "ntk", "mup-64", "mup-512", "pi-limit", "weighted-nngp", "boosting", "xrfm"]

SHOWN: dict[str, str] = {
    "nngp": "NNGP",
    "ntk": "NTK",
    "mup-64": "network in μP, n = 64",
    "mup-512": "network in μP, n = 512",
    "pi-limit": "π-limit",
    "weighted-nngp": "NNGP on the π-limit's columns",
    "boosting": "gradient boosting",
    "xrfm": "xRFM",
}

NETWORKS: dict[str, Make] = {"mup-64": mup_network(64), "mup-512": mup_network(512), "pi-limit": pi_network()}


def _boosting(seed: int) -> GridSearchCV:
    no: Any = False  # which scikit-learn's annotation of early_stopping does not know
    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=no)
    split = ShuffleSplit(1, test_size=1 / HELD_OUT, random_state=seed)
    return GridSearchCV(model, {"max_leaf_nodes": [4, 16]}, cv=split)


CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    # The π-limit's activation: kernels that are chosen by left-out rows among both are no worse with it than with ReLU.
    "nngp": lambda seed: NNGPClassifier(activation=CENTERED, random_state=seed),
    "ntk": lambda seed: NTKClassifier(activation=CENTERED, random_state=seed),
    "boosting": _boosting,
    "xrfm": lambda seed: Xrfm(seed),
}


def scored(method: str, data: Dataset, seed: int, steps: int) -> Score:
    """A method on a task.

    Networks choose their rate on held-out training rows, kernels depth and ridge on left-out ones, boosting the size of
    its trees and xRFM its kernel on held-out ones; each then learns from all of them, but for xRFM.

    Args:
        method: Name of the method.
        data: With the test rows that it is scored on.
        seed: Of whatever it draws.
        steps: Of networks.
    """
    start = time.perf_counter()
    rate = None
    if method in NETWORKS or method == "weighted-nngp":
        how = replace(Training(), steps=steps)
        chosen = fit_network(NETWORKS[method], data, how, seed) if method in NETWORKS else fit_weighted(data, how, seed)
        rate, hits = chosen.value, right(chosen.predictor, data.test_x, data.test_y).numpy()
    else:
        model = CLASSIFIERS[method](seed).fit(data.train_x.numpy(), data.train_y.numpy())
        hits = model.predict(data.test_x.numpy()) == data.test_y.numpy()
    seconds = time.perf_counter() - start
    return Score(data.name, method, len(data.train_x), seed, float(hits.mean()), rate, seconds)
