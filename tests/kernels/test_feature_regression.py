"""Ridge regression in the features is kernel regression with their inner products."""

import pytest
import torch
from rich.progress import Progress

from assertions import assert_close
from cases import randn, seeded
from mupi import ReLU
from mupi.kernels import (
    NNGP,
    CosineKernel,
    FeatureRegression,
    KernelRegression,
    NotPositiveDefiniteError,
    feature_regression,
)


@pytest.mark.parametrize("n, p", [(30, 7), (7, 30)])
def test_it_is_kernel_regression_with_the_inner_product(n, p, monkeypatch):
    monkeypatch.setattr(feature_regression, "ROWS", 4)
    X, Y, Xt = randn(n, p), randn(n, 3, seed=1), randn(9, p, seed=2)
    with Progress(disable=True) as progress:
        found = FeatureRegression(1e-2).fit(X, Y, progress).predict(Xt)
    expected = KernelRegression(lambda a, b: a @ b.T, 1e-2).fit(X, Y).predict(Xt)
    assert_close(found, expected, rtol=1e-9)


def test_class_labels_stand_for_their_one_hot():
    X, labels = randn(20, 5, dtype=torch.float32), torch.randint(3, (20,), generator=seeded())
    found = FeatureRegression(1e-3).fit(X, labels).predict(X)
    expected = KernelRegression(lambda a, b: a @ b.T, 1e-3).fit(X.double(), labels).predict(X.double())
    assert found.dtype == torch.float32
    assert_close(found, expected, rtol=1e-5)


def test_a_small_ridge_is_no_problem_for_more_rows_than_features_in_float32():
    X = randn(200, 5, dtype=torch.float32)
    Y = X @ randn(5, 2, seed=3, dtype=torch.float32)
    assert_close(FeatureRegression(1e-10).fit(X, Y).predict(X), Y, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_targets_are_not_rounded_to_the_features_dtype(dtype):
    X = torch.cat([randn(200, 8).to(dtype), torch.ones(200, 1, dtype=dtype)], 1)
    weights = randn(9, seed=1)
    weights[-1] = 1e5  # more than float16 has, and of which bfloat16 has the first digits
    found = FeatureRegression(1e-12).fit(X, X.double() @ weights).weights
    assert_close(found, weights, rtol=1e-6)
    batches = [(X[:150], X[:150].double() @ weights), (X[150:], X[150:].double() @ weights)]
    assert_close(FeatureRegression(1e-12).fit_batches(batches).weights, weights, rtol=1e-6)


def test_one_output_is_given_in_the_shape_that_it_came_in():
    X, Y = randn(20, 3), randn(20)
    found = FeatureRegression(0.1).fit(X, Y).predict(X)
    assert found.shape == KernelRegression(lambda a, b: a @ b.T, 0.1).fit(X, Y).predict(X).shape == Y.shape
    assert FeatureRegression(0.1).fit_batches([(X[:9], Y[:9]), (X[9:], Y[9:])]).predict(X).shape == Y.shape
    assert FeatureRegression(0.1).fit(X, Y[:, None]).predict(X).shape == (20, 1)
    with pytest.raises(ValueError, match="alike"):
        FeatureRegression(0.1).fit_batches([(X, Y), (X, Y[:, None])])


def test_a_system_that_float64_cannot_solve_is_refused():
    X = torch.cat([randn(20, 3)] * 2, 1)  # each feature twice: singular without a ridge
    Y = randn(20, seed=1)
    assert_close(FeatureRegression(1e-8).fit(X, Y).predict(X), X @ torch.linalg.pinv(X) @ Y, rtol=1e-6)
    with pytest.raises(NotPositiveDefiniteError) as error:
        FeatureRegression(1e-30).fit(X, Y)
    start = "`FeatureRegression(ridge=...)` must be large enough that (ΨᵀΨ + λI) w = ΨᵀY can be solved to 1% in float64"
    assert str(error.value).startswith(f"{start}; got 1e-30, at which ")
    assert str(error.value).endswith("; use a larger ridge")


def test_bad_arguments_are_named(unchecked):
    X, Y = randn(4, 3), randn(4)
    with pytest.raises(ValueError, match=r"`FeatureRegression.fit\(X\)` must be finite; got 12 NaN"):
        FeatureRegression(1.0).fit(X * float("nan"), Y)
    with pytest.raises(ValueError, match=r"`FeatureRegression.predict\(X\)` must be of shape \(m, 3\), as wide as"):
        FeatureRegression(1.0).fit(X, Y).predict(X[:, :2])
    with pytest.raises(ValueError, match=r"`FeatureRegression\(ridge=\.\.\.\)` must be a finite number > 0; got 0"):
        FeatureRegression(0.0)
    with pytest.raises(RuntimeError, match="call `fit"):
        FeatureRegression(1.0).predict(randn(3, 2))


def test_a_cosine_kernel_is_that_of_features_of_norm_one():
    kernel = NNGP(2, ReLU())
    cosine = CosineKernel(kernel, kernel.diagonal)
    x, y = randn(6, 4), randn(5, 4, seed=1)
    assert_close(cosine(x, x).diagonal(), torch.ones(6, dtype=torch.float64))
    # Without biases and for ReLU, the kernel of inputs of equal norm.
    x1, y1 = (2 * torch.nn.functional.normalize(z) for z in (x, y))
    assert_close(cosine(x, y), kernel(x1, y1) / kernel.diagonal(x1)[0])


def test_a_cosine_kernel_is_0_where_the_features_are():
    zero = CosineKernel(lambda a, b: a @ b.T, lambda a: a.square().sum(1))(torch.zeros(2, 3), torch.ones(1, 3))
    assert torch.equal(zero, torch.zeros(2, 1))
