"""Odd tables to every estimator: units, copies, constants, what is missing, one class, few rows, labels of any kind."""

import re
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mupi.estimators import NNGPClassifier, NNGPRegressor, NTKClassifier, NTKRegressor, PiClassifier, PiRegressor

CLASSIFIERS = {
    "NTKClassifier": NTKClassifier,
    "NNGPClassifier": NNGPClassifier,
    "PiClassifier": lambda: PiClassifier(rank=8, networks=2, steps=120, random_state=0),
}
REGRESSORS = {
    "NTKRegressor": NTKRegressor,
    "NNGPRegressor": NNGPRegressor,
    "PiRegressor": lambda: PiRegressor(rank=8, networks=2, steps=200, random_state=0),
}
random = np.random.RandomState(0)
X = random.standard_normal((120, 4))
TRUE = X[:, 0] + 0.5 * X[:, 1] ** 2
LABELS = np.median(TRUE) < TRUE
NEW = random.standard_normal((400, 4))
NEW_TRUE = NEW[:, 0] + 0.5 * NEW[:, 1] ** 2
NEW_LABELS = np.median(TRUE) < NEW_TRUE

# How columns may come, in each of which the same is to be learned.
COLUMNS = {
    "as they are": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "in Fortran's order": np.asfortranarray,
    "a list": lambda x: x.tolist(),
    "sparse": csr_matrix,
    "a column of 1e12": lambda x: x * [1e12, 1, 1, 1],
    "a column of 1e-12": lambda x: x * [1e-12, 1, 1, 1],
    "far from 0": lambda x: x + [1e5, 0, -1e5, 0],
    "a constant column": lambda x: np.hstack([x, np.full((len(x), 1), 7.0)]),
    "a column twice": lambda x: np.hstack([x, x[:, :1]]),
    "objects": lambda x: x.astype(object),
    "rounded to integers": lambda x: np.round(100 * x).astype(int),
}

# How rows may come.
ROWS = {
    "twice each": (np.repeat(np.arange(120), 2), None),
    "reversed": (np.arange(120)[::-1], None),
    "one of weight 0 and the rest": (np.arange(120), np.r_[0.0, np.ones(119)]),
    "all of weight 1e-9": (np.arange(120), np.full(120, 1e-9)),
    "all of weight 1e9": (np.arange(120), np.full(120, 1e9)),
}

LABEL_KINDS = {
    "bools": lambda y: y,
    "integers": lambda y: y.astype(int),
    "integers from 7": lambda y: 7 + 3 * y.astype(int),
    "negative": lambda y: -1 - y.astype(int),
    "whole floats": lambda y: y.astype(float),
    "words": lambda y: np.where(y, "yes", "no"),
    "objects": lambda y: np.where(y, "yes", "no").astype(object),
}

TARGETS = {
    "as they are": (1.0, 0.0),
    "in millionths": (1e-6, 0.0),
    "in millions": (1e6, 0.0),
    "far from 0": (1.0, 1e6),
}

# What has no right answer: columns, targets, weights.
NONE = {
    "NaN": (np.where(X > 2, np.nan, X), None),
    "infinity": (np.where(X > 2, np.inf, X), None),
    "no rows": (X[:0], slice(0, 0)),
    "no columns": (X[:, :0], None),
    "one axis": (X[:, 0], None),
    "three axes": (X[:, :, None], None),
    "words": (X.astype(str).astype(object) + "x", None),
    "fewer targets": (X, slice(0, 50)),
    "complex": (X + 1j, None),
}


NAMED = re.compile(r"\b(X|y|array|label|features|samples|[Cc]omplex|float)")


def came_to(call, right):
    """The outcome of a call whose result is to be `right`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = call()
        except (ValueError, TypeError) as error:
            # scikit-learn's own messages go on for more lines, but say in the first one what is wrong with what.
            return "refused" if NAMED.search(str(error)) else "traceback"
        except Exception:
            return "traceback"
    return "right" if right(found) else "silent"


def accuracy(made, x, y, weight, new, answers):
    return lambda: (made().fit(x, y, sample_weight=weight).predict(new) == answers).mean()


def r2(made, x, y, weight, new, answers):
    def call():
        error = np.square(np.ravel(made().fit(x, y, sample_weight=weight).predict(new)) - answers)
        return 1 - error.mean() / answers.var()

    return call


def explained(found):
    return 1 - np.square(found - NEW_TRUE).mean() / NEW_TRUE.var()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, record):
    made = CLASSIFIERS[name]
    good = accuracy(made, X, LABELS, None, NEW, NEW_LABELS)() - 0.06
    assert good > 0.8
    for case, turned in COLUMNS.items():
        call = accuracy(made, turned(X), LABELS, None, turned(NEW), NEW_LABELS)
        record("estimators: columns", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, (rows, weight) in ROWS.items():
        call = accuracy(made, X[rows], LABELS[rows], weight, NEW, NEW_LABELS)
        record("estimators: rows", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, turned in LABEL_KINDS.items():
        call = accuracy(made, X, turned(LABELS), None, NEW, turned(NEW_LABELS))
        record("estimators: labels", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, (x, kept) in NONE.items():
        y = LABELS if kept is None else LABELS[kept]
        record("estimators: no answer", f"{name}: {case}", came_to(lambda x=x, y=y: made().fit(x, y), lambda _: False))
    for case, y in {
        "one class": np.zeros(120, int),
        "numbers": TRUE,
        "a matrix": np.eye(2)[LABELS.astype(int)],
        "NaN": np.where(LABELS, np.nan, 1.0),
        "None": np.where(LABELS, None, "yes"),
    }.items():
        record("estimators: no answer", f"{name}: {case}", came_to(lambda y=y: made().fit(X, y), lambda _: False))
    few = np.flatnonzero(LABELS)[:1].tolist() + np.flatnonzero(~LABELS)[:5].tolist()
    noise = np.random.RandomState(1).rand(120) < 0.3
    for case, x, y, right in (
        ("one of a class", X[few], LABELS[few], lambda p: np.isfinite(p).all() and np.allclose(p.sum(1), 1)),
        ("two", X[:2], np.arange(2), lambda p: np.isfinite(p).all() and np.allclose(p.sum(1), 1)),
        ("all the same", np.zeros((20, 4)), np.arange(20) % 2, lambda p: np.allclose(p, 0.5, atol=0.05)),
        ("labels are noise", X, noise, lambda p: abs(p[:, 1].mean() - 0.3) < 0.12),
    ):
        found = came_to(lambda x=x, y=y: made().fit(x, y).predict_proba(NEW), right)
        record("estimators: rows", f"{name}: {case}", found)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name, record):
    made = REGRESSORS[name]
    good = r2(made, X, TRUE, None, NEW, NEW_TRUE)() - 0.08
    assert good > 0.7
    for case, turned in COLUMNS.items():
        call = r2(made, turned(X), TRUE, None, turned(NEW), NEW_TRUE)
        record("estimators: columns", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, (rows, weight) in ROWS.items():
        call = r2(made, X[rows], TRUE[rows], weight, NEW, NEW_TRUE)
        record("estimators: rows", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, (scale, shift) in TARGETS.items():
        call = r2(made, X, scale * TRUE + shift, None, NEW, scale * NEW_TRUE + shift)
        record("estimators: targets", f"{name}: {case}", came_to(call, lambda found: found > good))
    for case, y, right in (
        ("integers", np.round(10 * TRUE).astype(int), lambda f: explained(f / 10) > good),
        ("a constant", np.full(120, 3.5), lambda f: np.allclose(f, 3.5)),
        (
            "two outputs",
            np.stack([TRUE, -2 * TRUE], 1),
            lambda f: f.shape == (400, 2) and explained(f[:, 1] / -2) > good,
        ),
    ):
        found = came_to(lambda y=y: made().fit(X, y).predict(NEW), right)
        record("estimators: targets", f"{name}: {case}", found)
    for case, (x, kept) in NONE.items():
        y = TRUE if kept is None else TRUE[kept]
        record("estimators: no answer", f"{name}: {case}", came_to(lambda x=x, y=y: made().fit(x, y), lambda _: False))
    for case, y in {"NaN": np.where(LABELS, np.nan, 1.0), "words": np.where(LABELS, "a", "b")}.items():
        record("estimators: no answer", f"{name}: {case}", came_to(lambda y=y: made().fit(X, y), lambda _: False))
