"""The Gaussian process behind a kernel regression, against scikit-learn's and against its definition."""

import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import NNGP, NTK, Erf, ReLU
from mupi.kernels import KernelRegression, panels, ridge_system


def rbf(x1, x2):
    """exp(−|x − x'|²/2)."""
    return torch.exp(-torch.cdist(x1, x2).square() / 2)


@pytest.fixture(params=[4, 7, 1024], ids=lambda width: f"width-{width}")
def fitted(request, monkeypatch):
    """A regression on 23 samples with two outputs, whose factor has several panels, or one; and scikit-learn's."""
    monkeypatch.setattr(panels, "PANEL_WIDTH", request.param)
    X, Y = randn(23, 3, seed=0, dtype=torch.float64), randn(23, 2, seed=1, dtype=torch.float64)
    theirs = GaussianProcessRegressor(RBF(1.0), alpha=0.1, optimizer=None).fit(X.numpy(), Y.numpy())
    return KernelRegression(rbf, 0.1).fit(X, Y), theirs, X, Y


NEW = randn(6, 3, seed=2, dtype=torch.float64)


def test_mean_deviation_and_covariance_are_those_of_scikit_learn(fitted):
    ours, theirs, *_ = fitted
    mean, std = theirs.predict(NEW.numpy(), return_std=True)
    assert_close(ours.predict(NEW), torch.from_numpy(mean), rtol=1e-9)
    for output, part in enumerate(ours.predict(NEW, return_std=True)):
        assert_close(part, torch.from_numpy((mean, std[:, 0])[output]), rtol=1e-9)
    _, covariance = theirs.predict(NEW.numpy(), return_cov=True)
    assert_close(ours.predict(NEW, return_cov=True)[1], torch.from_numpy(covariance[..., 0]), rtol=1e-9)


def test_the_likelihood_is_that_of_scikit_learn(fitted):
    ours, theirs, *_ = fitted
    assert ours.log_marginal_likelihood() == pytest.approx(theirs.log_marginal_likelihood(), rel=1e-10)


def test_each_left_out_is_a_fit_of_the_others(fitted):
    ours, _, X, Y = fitted
    means, deviations = ours.leave_one_out()
    for i in (0, 3, 4, 22):
        others = torch.arange(len(X)) != i
        mean, std = KernelRegression(rbf, 0.1).fit(X[others], Y[others]).predict(X[i : i + 1], return_std=True)
        assert_close(means[i], mean[0], rtol=1e-9)
        assert_close(deviations[i : i + 1], std, rtol=1e-9)


def test_weights_are_repetitions():
    X, Y = randn(9, 3, seed=0, dtype=torch.float64), randn(9, seed=1, dtype=torch.float64)
    weights = torch.tensor([1.0, 2, 3, 1, 1, 1, 2, 1, 4], dtype=torch.float64)
    repeats = weights.long()
    weighted = KernelRegression(rbf, 0.1).fit(X, Y, sample_weight=weights)
    repeated = KernelRegression(rbf, 0.1).fit(X.repeat_interleave(repeats, 0), Y.repeat_interleave(repeats, 0))
    for a, b in zip(weighted.predict(NEW, return_std=True), repeated.predict(NEW, return_std=True), strict=True):
        assert_close(a, b, rtol=1e-9)


def test_samples_have_the_mean_and_the_covariance():
    X, Y = randn(9, 3, seed=0, dtype=torch.float64), randn(9, 2, seed=1, dtype=torch.float64)
    fitted = KernelRegression(rbf, 0.1).fit(X, Y)
    drawn = fitted.sample(NEW, 20_000, seeded(3))
    mean, covariance = fitted.predict(NEW, return_cov=True)
    assert drawn.shape == (20_000, *mean.shape)
    # Means and covariances of N draws are off by about 1/√N.
    assert_close(drawn.mean(0), mean, rtol=0.03, scale=1.0)
    assert_close(drawn[..., 1].T.cov(), covariance, rtol=0.03, scale=1.0)
    assert_close(drawn[:, 0].T.cov(), covariance[0, 0] * torch.eye(2).double(), rtol=0.03, scale=1.0)
    assert_equal(fitted.sample(NEW, 2, seeded(4)), fitted.sample(NEW, 2, seeded(4)))


def test_a_large_factor_is_made_again_when_it_is_asked_for(fitted, monkeypatch):
    ours, _, X, Y = fitted
    monkeypatch.setattr(ridge_system, "KEPT_BYTES", 0)
    again = KernelRegression(rbf, 0.1).fit(X, Y)
    assert again._solved._factor is None
    assert_equal(again.predict(NEW, return_std=True)[1], ours.predict(NEW, return_std=True)[1])
    assert again._solved._factor is not None


def test_float32_is_as_good_as_its_rounding_and_refused_where_that_decides():
    X, Y = randn(40, 3, seed=0, dtype=torch.float64), randn(40, seed=1, dtype=torch.float64)
    kernel = NNGP(2, ReLU())
    right = KernelRegression(kernel, 1e-3).fit(X, Y).predict(NEW, return_std=True)[1]
    single = KernelRegression(kernel, 1e-3).fit(X.float(), Y.float()).predict(NEW.float(), return_std=True)[1]
    assert_close(single, right, rtol=1e-3)

    def indefinite(x1, x2):
        return rbf(x1, x2) * (1 if len(x1) == len(x2) == 40 else 3)

    with pytest.raises(ValueError, match=r"of a dtype that resolves variances; got torch.float32, .*; fit X.double"):
        KernelRegression(indefinite, 1e-3).fit(X.float(), Y.float()).predict(X[:2].float(), return_std=True)


def test_a_mean_is_differentiable_beside_its_deviation():
    X, Y = randn(9, 3, seed=0, dtype=torch.float64), randn(9, seed=1, dtype=torch.float64)
    fitted = KernelRegression(rbf, 0.1).fit(X, Y)

    def deviation(x):
        return fitted.predict(x, return_std=True)[1]

    assert torch.autograd.gradcheck(deviation, NEW.clone().requires_grad_())


def test_bad_input_is_refused_by_name(unchecked):
    X, Y = randn(9, 3, seed=0), randn(9, seed=1)
    for method in (KernelRegression(rbf, 0.1).leave_one_out, KernelRegression(rbf, 0.1).log_marginal_likelihood):
        with pytest.raises(RuntimeError, match="needs a fitted regression"):
            method()
    for weights in (torch.ones(8), torch.zeros(9), torch.full((9,), torch.nan)):
        with pytest.raises(ValueError, match=r"fit\(sample_weight=...\)` must be 9 finite numbers > 0"):
            KernelRegression(rbf, 0.1).fit(X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match=r"must be a tensor or an array of 9 finite numbers > 0; got list"):
        KernelRegression(rbf, 0.1).fit(X, Y, sample_weight=[1.0] * 9)
    fitted = KernelRegression(rbf, 0.1).fit(X, Y)
    with pytest.raises(ValueError, match="both"):
        fitted.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match=r"sample\(samples=...\)` must be an integer ≥ 1"):
        fitted.sample(X, 0)


@pytest.mark.parametrize("ask", ["return_std", "return_cov", "sample", "leave_one_out"])
def test_a_variance_that_rounding_decides_is_refused_however_it_is_asked_for(ask):
    # Of a training input without noise nothing is left but rounding; in float64 it is 0 to 1e-5 of a deviation.
    X, Y = randn(40, 3, seed=0, dtype=torch.float64), randn(40, seed=1, dtype=torch.float64)
    kernel = NNGP(2, ReLU())
    questions = {
        "return_std": lambda r, x: r.predict(x, return_std=True)[1],
        "return_cov": lambda r, x: r.predict(x, return_cov=True)[1].diagonal().clamp_min(0).sqrt(),
        "sample": lambda r, x: r.sample(x, 5, seeded(0)).std(0),
        "leave_one_out": lambda r, x: r.leave_one_out()[1],
    }
    single, double = (KernelRegression(kernel, 1e-6).fit(x, Y) for x in (X.float(), X))
    if ask == "leave_one_out":
        X = torch.cat([X, X[:3] + 1e-4])
        single, double = (KernelRegression(kernel, 1e-5).fit(x, torch.cat([Y, Y[:3]])) for x in (X.float(), X))
    with pytest.raises(ValueError, match=r"of a dtype that resolves variances; got torch.float32, .*; fit X.double"):
        questions[ask](single, X[:5].float())
    assert (questions[ask](double, X[:5]) < 1e-2).all() or ask == "leave_one_out"


def test_a_likelihood_that_rounding_decides_is_refused():
    X = randn(60, 1, seed=0, dtype=torch.float32)
    Y = torch.sin(X[:, 0])
    with pytest.raises(ValueError, match=r"log_marginal_likelihood` must be of a dtype that resolves it; got .* ±"):
        KernelRegression(NNGP(3, Erf(), 1.0, 0.5), 1e-6).fit(X, Y).log_marginal_likelihood()


def test_a_tangent_kernel_is_known_to_less_beside_a_training_input():
    # Of a kink float32 knows slopes to √eps between nearly parallel inputs, which the dtype alone does not tell.
    X, Y = randn(40, 3, seed=0, dtype=torch.float32), randn(40, seed=1, dtype=torch.float32)
    fitted = KernelRegression(NTK(2, ReLU()), 1e-4).fit(X, Y)
    assert (fitted.predict(randn(5, 3, seed=3, dtype=torch.float32), return_std=True)[1] > 0).all()
    with pytest.raises(ValueError, match="fit X.double"):
        fitted.predict(X[:5] + 1e-3 * randn(5, 3, seed=2, dtype=torch.float32), return_std=True)
