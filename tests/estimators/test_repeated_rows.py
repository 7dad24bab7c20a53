"""Rows that are there more than once: what their targets vary by is noise, and intervals hold it."""

import numpy as np
import pytest
import torch

from mupi.estimators import NNGPRegressor, NTKRegressor
from mupi.estimators.leave_one_out import left_out
from mupi.estimators.table import standardized
from mupi.estimators.targets import read_numbers

REGRESSORS = pytest.mark.parametrize("regressor", [NNGPRegressor, NTKRegressor])


def doses(random):
    """Nine doses, fifty rows each."""
    return np.repeat(np.linspace(-2, 2, 9), 50)[:, None]


def ratings(random):
    """Two answers from 1 to 5."""
    return random.randint(1, 6, (400, 2)).astype(float)


def pairs(random):
    """A hundred rows, twice each."""
    return np.repeat(random.standard_normal((100, 1)), 2, 0)


def mixed(random):
    """A hundred rows that are there once, and three that are there fifty times."""
    return np.concatenate([random.standard_normal(100), np.repeat(random.standard_normal(3), 50)])[:, None]


def noisy(X, random):
    """A target of noise 1 at each row."""
    return np.sin(X[:, 0]) + random.standard_normal(len(X))


@REGRESSORS
@pytest.mark.parametrize("rows", [doses, ratings, pairs, mixed])
def test_intervals_hold_as_many_new_targets_at_repeated_rows_as_they_say(rows, regressor):
    random = np.random.RandomState(0)
    X = rows(random)
    mean, std = regressor(depth=1).fit(X, noisy(X, random)).predict(X, return_std=True)
    new = np.stack([noisy(X, random) for _ in range(10)])
    assert 0.85 < (np.abs(new - mean) < 1.645 * std).mean() < 0.95  # .896 to .912; of means alone .01 to .25
    assert np.abs(std - 1).max() < 0.25  # .014 to .082, and .16 and .23 where rows are few between the repeated ones


@REGRESSORS
@pytest.mark.parametrize("rows", [doses, pairs, mixed])
def test_equal_rows_are_as_uncertain_as_rows_that_are_nearly_so(rows, regressor):
    random = np.random.RandomState(1)
    X = rows(random)
    y, near = noisy(X, random), X + 1e-6 * random.standard_normal(X.shape)
    mean, std = regressor(depth=1).fit(X, y).predict(X, return_std=True)
    near_mean, near_std = regressor(depth=1).fit(near, y).predict(near, return_std=True)
    assert np.allclose(std, near_std, rtol=0.06)  # .008 to .019 off: ridges are chosen on other numbers of rows
    assert np.square(mean - near_mean).mean() < 0.1**2  # .0003 to .0945, of targets of noise 1


@REGRESSORS
@pytest.mark.parametrize("rows", [doses, ratings, pairs, mixed])
def test_variances_are_those_of_mean_targets_and_the_scatter_about_them(rows, regressor):
    random = np.random.RandomState(2)
    X = rows(random)
    y = noisy(X, random)
    each, row, counts = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    means = np.bincount(row, y) / counts
    mean, std = regressor().fit(X, y).predict(each, return_std=True)
    of_means = regressor().fit(each, means, sample_weight=counts).predict(each, return_std=True)
    assert np.allclose(mean, of_means[0], rtol=1e-6, atol=1e-6)
    assert np.allclose(std**2, of_means[1] ** 2 + np.square(y - means[row]).mean(), rtol=1e-6)


@REGRESSORS
def test_each_output_has_the_noise_of_its_own(regressor):
    random = np.random.RandomState(0)
    X = doses(random)
    y = np.stack([noisy(X, random), 5 + np.cos(X[:, 0]) + 0.1 * random.standard_normal(len(X))], 1)
    _, std = regressor(depth=1).fit(X, y).predict(X, return_std=True)
    # The noise of means, which outputs share in their own units, is 0.02 of their variances.
    assert np.allclose(std, [1, 0.1], rtol=0.25)


def test_rows_that_are_all_the_same_have_the_spread_of_their_targets():
    y = np.array([1.0, 2.0, 4.0, 9.0])
    mean, std = NNGPRegressor().fit(np.ones((4, 2)), y).predict(np.ones((1, 2)), return_std=True)
    assert mean == pytest.approx(y.mean()) and std == pytest.approx(y.std())


@REGRESSORS
def test_the_loss_is_minus_the_mean_log_density_of_all_targets_where_they_are_left_out(regressor):
    random = np.random.RandomState(0)
    X = mixed(random)
    y = noisy(X, random)
    model = regressor(depth=1).fit(X, y)
    values, _ = read_numbers(y, np.ones(len(y)))
    table, _ = standardized(X, values, np.ones(len(y)))
    x, target, weight = (torch.from_numpy(part) for part in (table.x, table.y, table.weight))
    (found,) = left_out(model.kernel_(x, x), target, weight, (model.ridge_,))
    off, variance = (found.mean - target)[:, 0].numpy(), found.variance.numpy()
    _, row = np.unique(X, axis=0, return_inverse=True)
    scatter = np.square(values - table.y[row]).mean()
    # Of f without the row, and of the noise that every target has.
    of_f = variance - found.regularizer / table.weight
    v = (np.square(off) / variance).mean() * (of_f + found.regularizer) + scatter
    square = np.square(values[:, 0] - found.mean[row, 0].numpy())
    density = np.exp(-square / (2 * v[row])) / np.sqrt(2 * np.pi * v[row])
    assert model.leave_one_out_loss_ == pytest.approx(-np.log(density).mean(), rel=1e-9)


@REGRESSORS
def test_where_all_rows_differ_variances_and_the_loss_are_those_of_left_out_targets(regressor):
    random = np.random.RandomState(0)
    X = random.standard_normal((80, 2))
    y = noisy(X, random)
    model = regressor(depth=1).fit(X, y)
    values, units = read_numbers(y, np.ones(80))
    table, _ = standardized(X, values, np.ones(80))
    assert not table.scatter.any()
    x, target, weight = (torch.from_numpy(part) for part in (table.x, table.y, table.weight))
    K = model.kernel_(x, x)
    (found,) = left_out(K, target, weight, (model.ridge_,))
    amplitude = np.sqrt((np.square(found.mean.numpy() - table.y)[:, 0] / found.variance.numpy()).mean())
    log_variance = np.log(found.variance.numpy()).mean()
    loss = np.log(amplitude) + 0.5 * (log_variance + 1 + np.log(2 * np.pi))
    assert model.leave_one_out_loss_ == pytest.approx(loss, rel=1e-12)
    of_f = K - K @ torch.linalg.solve(K + found.regularizer * torch.eye(80), K)
    right = amplitude * np.sqrt(of_f.diagonal().numpy() + found.regularizer) * units.std
    _, std = model.predict(np.unique(X, axis=0), return_std=True)
    assert np.allclose(std, right, rtol=1e-6)


@REGRESSORS
@pytest.mark.parametrize("rows", [doses, pairs, mixed, lambda random: random.standard_normal((100, 2))])
def test_a_weight_of_two_is_the_row_twice_of_none_no_row_and_units_of_weights_do_not_matter(rows, regressor):
    random = np.random.RandomState(0)
    X = rows(random)
    y = noisy(X, random)

    def fitted(X, y, weight=None):
        """Predictions, and how good they are said to be."""
        model = regressor().fit(X, y, sample_weight=weight)
        return np.array([*np.ravel(model.predict(X[:50], return_std=True)), model.leave_one_out_loss_])

    plain, two = fitted(X, y), np.full(len(y), 2.0)
    for same in (fitted(X, y, two), fitted(np.tile(X, (2, 1)), np.tile(y, 2)), fitted(X, y, 1e-9 * two)):
        assert np.allclose(same, plain, rtol=1e-6, atol=1e-9)
    weight = random.randint(0, 4, len(y)).astype(float)
    weight[:50] += 1
    times = np.arange(len(y)).repeat(weight.astype(int))
    first = np.unique(times, return_index=True)[1][:50]
    order = np.concatenate([first, np.setdiff1d(np.arange(len(times)), first)])
    assert np.allclose(fitted(X[times[order]], y[times[order]]), fitted(X, y, weight), rtol=1e-6, atol=1e-9)
