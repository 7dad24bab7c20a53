"""Moments of any size against hundreds of digits: a family of which tests/attacks takes every member."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from mupi import GELU, Abs, Cos, Erf, LeakyReLU, ReLU, Sin
from oracles.gaussian_digits import exact_moments, moment_and_slack, triple_within
from oracles.hermite_digits import by_quadrature, hermite_and_slope, hermite_slope_and_slacks

CLOSED = [ReLU(), LeakyReLU(0.1), Abs(), Erf(), GELU(), Sin(), Cos()]
EXPONENT = st.floats(-30, 30)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    φ=st.sampled_from(CLOSED),
    log_u=EXPONENT,
    log_v=EXPONENT,
    correlation=st.sampled_from([0.0, 0.5, -0.5, 1 - 1e-7, -(1 - 1e-7), 1.0, -1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_moments_of_any_size_are_right_to_rounding(φ, log_u, log_v, correlation, dtype):
    info = torch.finfo(dtype)
    triple = triple_within(10**log_u, correlation, 10**log_v, dtype)
    arguments = [torch.tensor([t], dtype=dtype) for t in triple]
    for name, moment in zip(("dual_00", "dual_11", "dual_02"), exact_moments(φ), strict=True):
        right, slack = moment_and_slack(moment, triple, info.eps)
        if abs(right) <= info.max:
            value = float(getattr(φ, name)(*arguments))
            assert math.isfinite(value) and abs(value - right) <= slack + 4 * info.tiny, (name, triple, value, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_variance_of_the_layer_after_keeps_its_digits_at_any_size(dtype):
    # On the diagonal nothing may be lost: E φ(u)² of GELU is var/2 for large ones, and of sin var for small ones.
    large, small = torch.tensor([1e12, 1e20, 1e30], dtype=dtype), torch.tensor([1e-12, 1e-20, 1e-30], dtype=dtype)
    eps = torch.finfo(dtype).eps
    assert float((GELU().dual(large, large, large) / (large / 2) - 1).abs().max()) < max(4 * eps, 2e-12)
    assert float((Sin().dual(small, small, small) / small - 1).abs().max()) < max(4 * eps, 2e-12)


@pytest.mark.parametrize("φ", CLOSED, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hermite_coefficients_of_any_scale_are_right_to_rounding(φ, dtype):
    info = torch.finfo(dtype)
    for scale, degree in product((1e-30, 0.7, 30.0, 1e15, 1e30), (0, 1, 2, 3, 6)):
        s = torch.tensor([scale], dtype=dtype, requires_grad=True)
        value = φ.hermite(degree, s)
        (slope,) = torch.autograd.grad((value + 0 * s).sum(), s)
        exact, slacks = hermite_slope_and_slacks(φ, degree, float(s.detach()), info.eps)
        for number, right, slack in zip((value.detach(), slope), exact, slacks, strict=True):
            if abs(right) <= info.max:
                assert abs(float(number) - right) <= slack + 4 * info.tiny, (degree, scale, float(number), right)


@pytest.mark.parametrize("scale", [0.05, 0.7, 30.0])
def test_the_digits_of_hermite_coefficients_are_those_of_quadrature(scale):
    def gelu(x):
        return x * mp.ncdf(x)

    for φ, function, degree in ((Erf(), mp.erf, 3), (GELU(), gelu, 2), (ReLU(), lambda x: max(x, mpf(0)), 4)):
        exact = hermite_and_slope(φ, degree, scale)
        assert all(
            abs(a - b) < mpf(10) ** -90 * abs(a)
            for a, b in zip(exact, hermite_and_slope(φ, degree, scale, 200), strict=True)
        )
        found, _ = by_quadrature(function, lambda x: mpf(0), degree, scale)
        assert abs(found - exact[0]) < mpf(10) ** -20 * abs(exact[0])
