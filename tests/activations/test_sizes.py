"""Moments of any size against hundreds of digits: a family of which tests/attacks takes every member."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mupi import GELU, Abs, Cos, Erf, LeakyReLU, ReLU, Sin
from oracles.gaussian_digits import exact_moments, moment_and_slack, triple_within

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coefficients_of_huge_and_tiny_scales(dtype):
    s = torch.tensor([1e-12, 1e12, 1e25], dtype=dtype, requires_grad=True)
    value = Erf().hermite(1, s)
    # c_1(s) = √(2/π) s√2/√(1 + 2s²), with the slope 2/√π (1 + 2s²)^{−3/2}.
    expected = torch.tensor([2e-12 / math.sqrt(math.pi), math.sqrt(2 / math.pi), math.sqrt(2 / math.pi)])
    assert torch.allclose(value.detach().double(), expected.double(), rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(value.sum(), s)
    assert float(slope[0]) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-6)
    assert float(slope[1]) == pytest.approx(2 / math.sqrt(math.pi) * 2**-1.5 * 1e-36, rel=1e-6)
    assert Sin().hermite(5, s.detach())[1:].tolist() == [0, 0]
