"""Kernels as estimators: closed forms beside fits one by one, intervals that hold, probabilities that are so."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_friedman1
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import mupi
from mupi.estimators import NNGPRegressor, NTKClassifier, NTKRegressor, kernel_machine
from mupi.estimators.leave_one_out import left_out
from mupi.estimators.probabilities import calibrate, log_probabilities


def test_left_out_predictions_are_those_of_fits_without_the_row():
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((12, 3), (12, 2)))
    weight = torch.rand(12, generator=g, dtype=torch.float64) + 0.5
    K = mupi.NTK(2, mupi.ReLU())(x, x)
    (found,) = left_out(K, y, weight, (0.1,))
    for i in range(12):
        rest = [j for j in range(12) if j != i]
        noise = torch.diag(0.1 * K.diagonal().mean() / weight)
        A = (K + noise)[rest][:, rest]
        to = torch.linalg.solve(A, K[rest, i])
        torch.testing.assert_close(found.mean[i], to @ y[rest])
        torch.testing.assert_close(found.variance[i], (K + noise)[i, i] - to @ K[rest, i])


def test_intervals_hold_as_many_new_targets_as_they_say():
    X, y = make_friedman1(500, noise=1.0, random_state=0)
    mean, std = NNGPRegressor().fit(X[:200], y[:200]).predict(X[200:], return_std=True)
    inside = (np.abs(y[200:] - mean) < 1.645 * std).mean()
    # Of 300: 90 % ± 1.7.
    assert 0.84 < inside < 0.96


def test_probabilities_are_as_often_right_as_they_say():
    random = np.random.RandomState(0)
    X = random.standard_normal((1500, 3))
    p = 1 / (1 + np.exp(-2 * np.sin(2 * X[:, 0]) - X[:, 1]))
    y = random.rand(1500) < p
    found = NTKClassifier().fit(X[:500], y[:500]).predict_proba(X[500:])[:, 1]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        rows = (found >= low) & (found < low + 0.2)
        assert abs(found[rows].mean() - p[500:][rows].mean()) < 0.08


def test_without_knowledge_probabilities_are_the_prior():
    prior = np.array([0.7, 0.2, 0.1])
    assert np.allclose(np.exp(log_probabilities(np.zeros((2, 3)), prior, 5.0)), prior)
    # Outputs that say nothing of the classes are not trusted.
    random = np.random.RandomState(0)
    y = np.eye(3)[random.choice(3, 2000, p=prior)]
    f = random.standard_normal((2000, 3))
    sharpness, loss = calibrate(f, prior, y, np.ones(2000))
    assert sharpness < 0.1 and loss == pytest.approx(-(prior * np.log(prior)).sum(), abs=0.03)


def test_a_row_with_weight_two_is_that_row_twice_and_order_is_nothing():
    X, y = load_iris(return_X_y=True)
    weight = np.random.RandomState(0).randint(0, 4, len(y)).astype(float)
    once = NTKClassifier().fit(X, y, sample_weight=weight).predict_proba(X)
    rows = np.random.RandomState(1).permutation(np.repeat(np.arange(len(y)), weight.astype(int)))
    assert np.allclose(once, NTKClassifier().fit(X[rows], y[rows]).predict_proba(X), atol=1e-9)


def test_integers_are_numbers_to_a_regressor_and_units_do_not_matter():
    X, y = make_friedman1(80, random_state=0)
    whole = np.round(y).astype(int)
    found = NTKRegressor().fit(X, whole).predict(X)
    assert found.dtype == np.float64 and not np.allclose(found, np.round(found))
    moved = NTKRegressor().fit(1e3 * X - 7, 1e6 * whole + 5).predict(1e3 * X - 7)
    assert np.allclose(moved, 1e6 * found + 5, rtol=1e-6)


def test_words_are_labels_in_a_pipeline_and_a_grid():
    X, y = load_iris(return_X_y=True)
    words = np.array(["setosa", "versicolor", "virginica"])[y]
    grid = GridSearchCV(make_pipeline(MinMaxScaler(), NTKClassifier()), {"ntkclassifier__depth": [1, 2]}, cv=3)
    assert grid.fit(X[::2], words[::2]).score(X[1::2], words[1::2]) > 0.9


def test_more_rows_than_are_compared_on():
    X, y = make_friedman1(2300, random_state=0)
    model = NTKRegressor(depth=1, random_state=0).fit(X[:2100], y[:2100])
    assert model.score(X[2100:], y[2100:]) > 0.97


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (lambda X, y: NTKClassifier().fit(X, np.zeros(len(X))), r"`NTKClassifier.fit\(y\)` must be of at least two"),
        (lambda X, y: NTKClassifier().fit(X, X[:, 0]), "Unknown label type"),
        (lambda X, y: NTKClassifier(depth=0).fit(X, y), r"`NTKClassifier\(depth=...\)` must be an integer ≥ 1"),
        (lambda X, y: NTKClassifier(depth=()).fit(X, y), r"`NTKClassifier\(depth=...\)` must be a number of hidden"),
        (lambda X, y: NTKClassifier(ridge=0).fit(X, y), r"ridge"),
        (lambda X, y: NTKClassifier().fit(X, y, sample_weight=np.zeros(len(X))), "weight"),
        (lambda X, y: NTKClassifier().fit(np.where(X > 5, np.nan, X), y), "NaN"),
        (lambda X, y: NTKClassifier().fit(X, y).predict(X[:, :2]), "2 features"),
    ],
)
def test_what_says_nothing_is_refused(fit, said):
    with pytest.raises(ValueError, match=said):
        fit(*load_iris(return_X_y=True))


def test_deviations_of_more_rows_than_are_fitted_in_float64_are_those_of_float64(monkeypatch):
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    exact = NTKRegressor(depth=1).fit(X, y).predict(X[:50], return_std=True)
    monkeypatch.setattr(kernel_machine, "DOUBLE_ROWS", 100)
    found = NTKRegressor(depth=1).fit(X, y).predict(X[:50], return_std=True)
    np.testing.assert_allclose(found[0], exact[0], atol=1e-3)  # means are of float32: 1.1e-4 off
    np.testing.assert_allclose(found[1], exact[1], rtol=1e-6)  # the same computation: 0
