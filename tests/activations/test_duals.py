"""E φφ, E φ'φ' and E φφ'' against nested quadrature beyond what the contract asks: at larger variances."""

import pytest
import torch

from assertions import assert_close
from cases import ACTIVATIONS, CLOSED_FORM
from mupi import ReLU
from mupi.testing.moments import moments

# (var_u, cosine, var_v)
WIDE = [(9.0, -1.0, 4.0), (4.0, -0.7, 9.0), (0.25, 0.4, 9.0), (9.0, 0.95, 9.0), (4.0, 1.0, 9.0)]
LARGE = [(100.0, -0.6, 400.0), (400.0, 0.5, 1.0), (400.0, 0.97, 400.0), (100.0, 1.0, 100.0)]


def triples(pairs, dtype=torch.float64):
    """The pairs as tensors var_u, cov, var_v."""
    var_u, cosine, var_v = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return tuple(t.to(dtype) for t in (var_u, cosine * (var_u * var_v).sqrt(), var_v))


def by_quadrature(φ, pairs):
    """The three moments of each pair, from the oracle."""
    var_u, cov, var_v = (t.tolist() for t in triples(pairs))
    values = [moments(φ, *triple) for triple in zip(var_u, cov, var_v, strict=True)]
    return torch.tensor(values, dtype=torch.float64).unbind(1)


def by_library(φ, pairs, dtype=torch.float64):
    """The three moments of each pair, from the library."""
    return tuple(moment(*triples(pairs, dtype)) for moment in (φ.dual, φ.dual_11, φ.dual_02))


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_duals_are_the_gaussian_expectations_at_larger_variance(name):
    φ = CLOSED_FORM[name]
    for value, expected in zip(by_library(φ, WIDE), by_quadrature(φ, WIDE), strict=True):
        assert_close(value, expected, rtol=1e-11, scale=max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", ["relu", "leaky", "abs", "erf", "gelu", "tanh"])
def test_duals_are_right_at_the_scale_of_real_junctions(name):
    # Normalised images give |g|² ≈ r, so a standard deviation of 20 is what a layer of rank 400 sees.
    φ = ACTIVATIONS[name]
    for value, expected in zip(by_library(φ, LARGE), by_quadrature(φ, LARGE), strict=True):
        # The oracle resolves a step of width 1/20 by Gauss–Legendre on fixed panels to about 1e-7.
        assert_close(value, expected, rtol=1e-6, scale=max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_duals_in_float32_are_those_in_float64_at_larger_variance(name):
    φ = CLOSED_FORM[name]
    for value, expected in zip(by_library(φ, WIDE, torch.float32), by_library(φ, WIDE), strict=True):
        assert value.dtype == torch.float32
        assert_close(value, expected, rtol=3e-5, scale=max(1.0, float(expected.abs().max())))


def test_the_second_derivative_of_a_kinked_dual_is_right_away_from_the_kink():
    inputs = [t.requires_grad_() for t in triples([(1.0, 0.4, 0.5), (0.7, -0.6, 0.3)])]
    assert torch.autograd.gradgradcheck(ReLU().dual, inputs)
