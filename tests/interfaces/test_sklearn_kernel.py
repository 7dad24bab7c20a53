"""`SklearnKernel`: scikit-learn's own kernels beside it, its gradient, equality with mupi's regression, refusals."""

import pickle
import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assertions import assert_close
from cases import randn
from mupi import NNGP, NTK, ConvNTK, EmpiricalNTK, Erf, KernelRegression, ReLU, SklearnKernel
from mupi.architecture import zoo
from mupi.kernels import maximize_likelihood

KERNEL = NTK(2, ReLU(), 1.4, 0.1)
KERNELS = {
    "network": SklearnKernel(KERNEL),
    "role": SklearnKernel(KERNEL, "role", sigma_w=np.array([1.1, 1.2, 1.3])),
    "fixed": SklearnKernel(KERNEL, "weight", sigma_b_bounds="fixed"),
    "no bias": SklearnKernel(NNGP(2, Erf(), 1.2)),
    "images": SklearnKernel(ConvNTK((1, 2, 2), 1, ReLU(), True, 3, 1.2, 0.2)),
    # the σ's of queries and keys, whose logits vanish, do nothing
    "attention": SklearnKernel(zoo.gpt(5, 4, 1, 1, activation=Erf()).ntk(1.2, 0.2, output="mean"), "weight"),
}


def data(n=30):
    X = randn(n, 4).numpy()
    return X, np.sin(X[:, 0]) + 0.1 * randn(n, seed=1).numpy()


def inputs(name, n):
    return np.floor(2 * np.abs(data(n)[0])).clip(0, 4) if name == "attention" else data(n)[0]


@pytest.mark.parametrize("name", KERNELS)
def test_it_is_the_kernel_and_its_gradient_is_a_difference(name):
    k, X = KERNELS[name], inputs(name, 6)
    K, gradient = k(X, eval_gradient=True)
    np.testing.assert_allclose(k(X), K, rtol=1e-13)
    np.testing.assert_allclose(k(X[:2], X), K[:2], rtol=1e-12)
    np.testing.assert_allclose(k.diag(X), np.diag(K), rtol=1e-12)
    assert K.dtype == gradient.dtype == np.float64
    assert gradient.shape == (6, 6, len(k.theta)) and k.bounds.shape == (len(k.theta), 2)
    for i in range(len(k.theta)):
        step = 1e-5 * np.eye(len(k.theta))[i]
        more, less = (k.clone_with_theta(k.theta + s * step)(X) for s in (1, -1))
        np.testing.assert_allclose(gradient[..., i], (more - less) / 2e-5, atol=1e-8 * np.abs(K).max())
    with pytest.raises(ValueError, match=r"eval_gradient=\.\.\.\)` must be False where there is a Y"):
        k(X, X, eval_gradient=True)


def test_the_gradient_by_blocks_is_the_same(monkeypatch):
    k, (X, _) = KERNELS["role"], data(7)
    whole = k(X, eval_gradient=True)[1]
    monkeypatch.setattr("mupi.interfaces.sklearn_kernel.CHECKPOINT_ENTRIES", 14)
    np.testing.assert_allclose(k(X, eval_gradient=True)[1], whole, rtol=1e-12)


def test_a_process_is_mupis_regression():
    (X, y), new = data(), randn(5, 4, seed=2)
    regression = KernelRegression(KERNEL, 1e-2).fit(torch.from_numpy(X), torch.from_numpy(y))
    process = GaussianProcessRegressor(KERNELS["network"], alpha=regression.regularizer, optimizer=None).fit(X, y)
    mean, std = process.predict(new.numpy(), return_std=True)
    expected, deviation = regression.predict(new, return_std=True)
    assert_close(torch.from_numpy(mean), expected, rtol=1e-10)
    assert_close(torch.from_numpy(std), deviation, rtol=1e-10)
    value = process.log_marginal_likelihood_value_
    assert abs(value - regression.log_marginal_likelihood()) < 1e-10 * abs(value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The optimal value found:sklearn.exceptions.ConvergenceWarning")
def test_fitting_finds_what_maximize_likelihood_finds():
    X, y = data(20)
    y = y + 0.3 * randn(20, seed=5).numpy()
    chosen = maximize_likelihood(partial(NTK, 1, ReLU()), X, y, sigma_w=1.4, sigma_b=0.1)
    process = GaussianProcessRegressor(SklearnKernel(NTK(1, ReLU(), 1.4, 0.1)) + WhiteKernel(0.05)).fit(X, y)
    assert process.log_marginal_likelihood_value_ == pytest.approx(chosen.log_likelihood, abs=1e-3)


def test_sums_products_clones_and_pickles():
    X, _ = data(8)
    for name, k in KERNELS.items():
        for same in (clone(k), pickle.loads(pickle.dumps(k)), clone(k).set_params(**k.get_params())):
            assert same == k, name
            np.testing.assert_array_equal(same.theta, k.theta)
    k = KERNELS["role"]
    whole = ConstantKernel(2.0) * k + RBF(1.5) * WhiteKernel(0.1)
    np.testing.assert_allclose(whole(X), 2 * k(X) + RBF(1.5)(X) * 0.1 * np.eye(8), rtol=1e-12)
    assert len(whole.theta) == 9
    moved = whole.clone_with_theta(whole.theta + 0.1)
    np.testing.assert_allclose(moved.k1.k2.sigma_w, k.sigma_w * np.exp(0.1))
    assert whole(X, eval_gradient=True)[1].shape == (8, 8, 9)
    whole.set_params(k1__k2__sigma_b=np.array([0.1, 0.2, 0.3]))
    assert repr(whole.k1.k2).endswith("sigma_b_readout=0.3)")
    assert not k.is_stationary() and k.requires_vector_input
    assert KERNELS["fixed"].names[3:] == ["sigma_b_layers.0", "sigma_b_layers.1", "sigma_b_layers.2"]
    assert len(KERNELS["fixed"].theta) == 3


@pytest.mark.filterwarnings("ignore:The optimal value found:sklearn.exceptions.ConvergenceWarning")
def test_in_a_pipeline_a_search_and_a_classifier():
    X, _ = data(24)
    kernels = [SklearnKernel(kernel(1, ReLU(), 1.2, 0.2)) for kernel in (NNGP, NTK)]
    pipeline = make_pipeline(StandardScaler(), GaussianProcessRegressor(alpha=0.05, optimizer=None))
    search = GridSearchCV(pipeline, {"gaussianprocessregressor__kernel": kernels}, cv=2).fit(X, X[:, 0])
    assert search.best_score_ > 0.8
    classifier = GaussianProcessClassifier(ConstantKernel() * kernels[1], max_iter_predict=20).fit(X, X[:, 0] > 0)
    assert classifier.score(X, X[:, 0] > 0) == 1.0
    assert classifier.kernel_.k2.sigma_w != 1.2


REFUSED = {
    "kernel": (lambda: SklearnKernel(EmpiricalNTK(torch.nn.Linear(2, 1))), r"\(kernel=.*mupi.NNGP.*EmpiricalNTK"),
    "each": (lambda: SklearnKernel(zoo.gpt(5, 4, 1, 2).ntk(output="each")), r'one output a sample.*output="mean"'),
    "sigmas": (lambda: SklearnKernel(KERNEL, "layer"), r"SklearnKernel\(sigmas=\.\.\.\)` must be one of"),
    "negative": (lambda: SklearnKernel(KERNEL, sigma_w=-1.0)(data()[0]), r"\(sigma_w=\.\.\.\)` must be positive"),
    "nan": (lambda: SklearnKernel(KERNEL, sigma_b=np.nan)(data()[0]), r"\(sigma_b=\.\.\.\)` must be positive"),
    "zero": (lambda: SklearnKernel(KERNEL, sigma_b=0.0)(data()[0]), r"\(sigma_b=\.\.\.\)` must be positive"),
    "bool": (lambda: SklearnKernel(KERNEL, sigma_w=True)(data()[0]), r"\(sigma_w=\.\.\.\)` must be positive"),
    "held": (lambda: SklearnKernel(NNGP(2, ReLU()), sigma_b=0.1)(data()[0]), r"sigma_b=.*must be 0, as in the kernel"),
    "number": (lambda: SklearnKernel(KERNEL, "role", sigma_w=1.0)(data()[0]), r"must be 3 numbers, of sigma_w_input,"),
    "bools": (lambda: KERNELS["network"](np.ones((3, 2), bool)), r"\(X\)` must be numbers; got torch.bool"),
    "text": (lambda: KERNELS["network"](np.array([["a"]])), r"\(X\)` must be numbers"),
    "infinite": (lambda: KERNELS["network"](np.full((2, 2), np.nan)), r"\(X\)` must be finite"),
    "axes": (lambda: KERNELS["network"](np.ones(3)), r"\(X\)` must be of shape \(n, d\); got shape \(3,\)"),
    "width": (lambda: KERNELS["images"](np.ones((2, 5))), r"`ConvNTK\(x1\)` must be of shape .*got shape \(2, 5\)"),
    "two": (lambda: KERNELS["network"](np.ones((2, 3)), np.ones((2, 2))), r"x2\)` must be of shape \(n, 3\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_in_one_line(case, unchecked):
    attempt, message = REFUSED[case]
    with pytest.raises(ValueError) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value)), caught.value


def test_integers_and_lists_are_numbers():
    k = KERNELS["network"]
    np.testing.assert_array_equal(k(np.arange(6).reshape(3, 2)), k(np.arange(6.0).reshape(3, 2)))
    np.testing.assert_array_equal(k([[0.0, 1.0]]), k(np.array([[0.0, 1.0]])))
    np.testing.assert_allclose(k(data()[0].astype(np.float32)), k(data()[0].astype(np.float32).astype(float)))
