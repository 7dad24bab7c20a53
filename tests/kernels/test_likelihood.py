"""Kernels chosen by marginal likelihood."""

import pytest
import torch

from assertions import assert_close
from cases import randn, seeded
from mupi import NNGP, Erf, ReLU
from mupi.kernels import KernelRegression, maximize_likelihood
from mupi.kernels.likelihood import log_likelihood_and_gradient


def nngp(sigma_w, sigma_b):
    """A family of two numbers."""
    return NNGP(2, Erf(), sigma_w, sigma_b)


def test_value_and_gradient_are_those_of_the_definition():
    X, Y, at = randn(12, 3), randn(12, 2, seed=1), dict(sigma_w=1.3, sigma_b=0.4, ridge=0.05)
    value, gradient = log_likelihood_and_gradient(nngp, X, Y, **at)
    regression = KernelRegression(nngp(1.3, 0.4), 0.05).fit(X, Y)
    assert value == pytest.approx(regression.log_marginal_likelihood(), rel=1e-10)
    K = nngp(1.3, 0.4)(X)
    λ = 0.05 * K.diagonal().mean() * torch.eye(12, dtype=torch.float64)
    density = torch.distributions.MultivariateNormal(torch.zeros(12).double(), K + λ)
    assert value == pytest.approx(float(density.log_prob(Y.T).sum()), rel=1e-10)
    for name in at:
        h = 1e-5
        more, less = (
            log_likelihood_and_gradient(nngp, X, Y, **{**at, name: at[name] * (1 + s * h)})[0] for s in (1, -1)
        )
        assert gradient[name] == pytest.approx((more - less) / (2 * h), rel=1e-5, abs=1e-5)


def test_the_numbers_that_made_the_data_are_found():
    X, g = randn(150, 2), seeded(3)
    K = NNGP(2, ReLU(), 1.0, 0.5)(X)
    L = torch.linalg.cholesky(K + 0.01 * K.diagonal().mean() * torch.eye(150).double())
    Y = L @ torch.randn(150, 40, generator=g, dtype=torch.float64)

    def family(sigma_w, sigma_b):
        return NNGP(2, ReLU(), sigma_w, sigma_b)

    chosen = maximize_likelihood(family, X, Y, ridge=0.3, sigma_w=2.0, sigma_b=0.1)
    # Forty outputs of 150 samples tell numbers to some percent.
    assert chosen.numbers["sigma_w"] == pytest.approx(1.0, rel=0.05)
    assert chosen.numbers["sigma_b"] == pytest.approx(0.5, rel=0.15)
    assert chosen.ridge == pytest.approx(0.01, rel=0.1)
    assert all(abs(slope) < 1e-2 * abs(chosen.log_likelihood) for slope in chosen.gradient.values())
    right = KernelRegression(family(1.0, 0.5), 0.01).fit(X, Y).log_marginal_likelihood()
    assert chosen.log_likelihood >= right
    assert_close(chosen.kernel(X), family(**chosen.numbers)(X))


def test_bad_starts_are_refused_by_name(unchecked):
    X, Y = randn(9, 3), randn(9)
    with pytest.raises(ValueError, match=r"maximize_likelihood\(sigma_b=...\)` must be a number within bounds"):
        maximize_likelihood(nngp, X, Y, sigma_w=1.0, sigma_b=0.0)
    with pytest.raises(ValueError, match=r"maximize_likelihood\(X\)` must be"):
        maximize_likelihood(nngp, X[0], Y, sigma_w=1.0, sigma_b=0.1)
