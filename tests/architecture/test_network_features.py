"""Random features of an architecture: their kernel is its NNGP, with an error that falls as the root of the width."""

import re

import jaxtyping
import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close, assert_equal, fitted_slope
from cases import randn, seeded
from mupi.architecture import Dense, Width, chain, describe
from mupi.architecture.network_features import NetworkFeatures
from mupi.architecture.zoo import cnn, gpt, perceptron

n, F64 = Width(), torch.float64
ARCHITECTURES = {
    "perceptron": (perceptron(5, 3, depth=2), {}),
    "erf": (perceptron(5, 1, depth=1, activation=mupi.Erf()), {}),
    "no bias": (perceptron(5, 1, depth=2, bias=False), {}),
    "wide": (describe((5,), chain(Dense(n), mupi.ReLU(), Dense(2 * n), mupi.ReLU(), Dense(2))), {}),
    "cnn": (cnn((1, 4, 4), 2, depth=2), {}),
    "flattened cnn": (cnn((1, 4, 4), 2, depth=1, average=False), {}),
}


def inputs(arch, count=4, seed=0):
    """Samples."""
    return randn(count, *arch.input.axes, seed=seed)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_mean_of_their_kernel_is_the_nngp(name):
    arch, options = ARCHITECTURES[name]
    x, g = inputs(arch), seeded(1)
    drawn = []
    for _ in range(40):
        psi = NetworkFeatures(arch, 128, 1.3, 0.4, generator=g, dtype=F64, **options)(x)
        drawn.append(psi @ psi.T)
    kernels = torch.stack(drawn)
    exact = arch.nngp(1.3, 0.4, **options)(x, x)
    error = kernels.std(0) / 40**0.5
    # Five standard errors, and the bias of O(1/n) of deep networks.
    assert ((kernels.mean(0) - exact).abs() <= 5 * error + 0.02 * exact.abs().max()).all()


def test_errors_fall_as_the_root_of_the_width():
    arch, x, g = perceptron(6, 1, depth=2), randn(12, 6), seeded(2)
    widths, errors = (32, 128, 512), []
    for width in widths:
        features = [arch.random_features(width, sigma_b=0.5, generator=g, dtype=F64) for _ in range(12)]
        exact = features[0].kernel(x, x)
        errors.append(float(torch.stack([f(x) @ f(x).T - exact for f in features]).square().mean().sqrt()))
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.12)


def test_wide_features_predict_as_the_kernel_does():
    arch, X, new = perceptron(4, 1, depth=1), randn(60, 4), randn(20, 4, seed=1)
    features = arch.random_features(2000, sigma_b=0.3, generator=seeded(), dtype=F64)
    assert features(X).shape == (60, 2001)
    expected = mupi.KernelRegression(features.kernel, 0.1).fit(X, X[:, 0].abs()).predict(new)
    found = mupi.FeatureRegression(0.1, features).fit(X, X[:, 0].abs()).predict(new)
    assert float((found - expected).norm() / expected.norm()) < 0.08
    error = mupi.kernels.feature_error(features, features.kernel, X, X[:, 0].abs(), ridge=0.1)
    assert 0.001 < error.kernel < 0.1


def test_positions_are_averaged_or_chosen():
    arch = gpt(7, 3, depth=1)
    tokens = torch.randint(0, 7, (3, 3), generator=seeded())
    mean, last = (arch.random_features(8, output=o, generator=seeded(1), dtype=F64) for o in ("mean", -1))
    assert mean(tokens).shape == last(tokens).shape == (3, 8)
    every = torch.stack([arch.random_features(8, output=o, generator=seeded(1), dtype=F64)(tokens) for o in range(3)])
    assert_close(every.mean(0), mean(tokens), rtol=1e-12)
    assert_equal(every[-1], last(tokens))


def test_a_traced_module_has_them_and_dropout_lets_all_pass():
    def make(width):
        return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 2))

    x = randn(6, 5, dtype=torch.float32)
    features = mupi.trace(make, x).random_features(16, sigma_b=0.1, generator=seeded())
    assert_equal(features(x), features(x))
    assert features(x).shape == (6, 17) and not features(x).requires_grad
    assert_close(features(x), torch.cat([features(x[:2]), features(x[2:])]), rtol=1e-5)


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        (perceptron(3, 1), {"width": 0}, r"`arch.random_features\(width=...\)` must be an integer ≥ 1"),
        (
            perceptron(3, 1),
            {"width": 4, "sigma_w": {"hidden": 1.0}},
            r"`arch.random_features\(sigma_w=...\)` must be one",
        ),
        (perceptron(3, 1), {"width": 4, "sigma_b": -1.0}, r"`arch.random_features\(sigma_b=...\)` must be"),
        (perceptron(3, 1), {"width": 4, "output": "mean"}, r"`arch.random_features\(output=...\)` must be None"),
        (
            gpt(5, 3, depth=1),
            {"width": 8},
            r'`arch.random_features\(output=...\)` must be "mean" or a pos',
        ),
        (gpt(5, 3, depth=1), {"width": 8, "output": 3}, r"`arch.random_features\(output=...\)` must be"),
    ],
)
def test_bad_input_is_refused_in_one_line(monkeypatch, arch, options, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError) as error:
        arch.random_features(**options)
    assert re.match(message, str(error.value)) and "\n" not in str(error.value)
