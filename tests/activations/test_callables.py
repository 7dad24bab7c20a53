"""Callables: which closed form they become, what is refused, and that the error of the rest is no more than is said."""

import copy
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from assertions import assert_close
from cases import randn
from mupi import GELU, Abs, Erf, Identity, LeakyReLU, PiecewiseLinear, Polynomial, Quadrature, ReLU, Sin, Tanh
from mupi.activations import as_activation
from mupi.testing.moments import derivative
from oracles.piecewise import expectation


def number(value):
    """As a tensor that moments take."""
    return torch.tensor([value], dtype=torch.float64)


def pair(s_u, q, s_v):
    """var_u, cov and var_v."""
    return number(s_u * s_u), number(q * s_u * s_v), number(s_v * s_v)


@pytest.mark.parametrize(
    ("function", "φ"),
    [
        (torch.relu, ReLU()),
        (torch.Tensor.relu, ReLU()),
        (F.relu, ReLU()),
        (partial(F.relu, inplace=True), ReLU()),
        (nn.ReLU(inplace=True), ReLU()),
        (abs, Abs()),
        (torch.special.erf, Erf()),
        (F.gelu, GELU()),
        (partial(F.gelu, approximate="none"), GELU()),
        (nn.GELU(), GELU()),
        (F.leaky_relu, LeakyReLU(0.01)),
        (partial(F.leaky_relu, negative_slope=0.2), LeakyReLU(0.2)),
        (nn.LeakyReLU(0.3), LeakyReLU(0.3)),
        (torch.tanh, Tanh()),
        (nn.Tanh(), Tanh()),
        (torch.sin, Sin()),
        (nn.Identity(), Identity()),
        (torch.square, Polynomial((0.0, 0.0, 1.0))),
    ],
)
def test_pytorchs_own_become_closed_forms(function, φ):
    assert as_activation(function) == φ


class Doubled(nn.ReLU):
    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (lambda x: x.clamp(min=0), [(0, 1)]),
        (Doubled(), [(0, 2)]),
        (nn.Hardtanh(), [(-1, 1), (1, -1)]),
        (nn.ReLU6(), [(0, 1), (6, -1)]),
        (nn.Softshrink(0.5), [(-0.5, -1), (0.5, 1)]),
        (F.hardsigmoid, [(-3, 1 / 6), (3, -1 / 6)]),
        (lambda x: torch.relu(x - 0.3) - 2 * x, [(0.3, 1)]),
    ],
)
def test_piecewise_linear_functions_are_found_and_exact(function, kinks):
    φ = as_activation(function)
    assert isinstance(φ, PiecewiseLinear)
    assert_close(torch.tensor(φ.kinks), torch.tensor(kinks).to(torch.float32), rtol=1e-6, scale=1.0)
    x = 3 * randn(50)
    assert_close(φ(x), function(x), rtol=1e-12, scale=1.0)
    places, slope = [t for t, _ in kinks], derivative(φ)
    for s_u, q, s_v in ((0.3, 0.4, 2.0), (1.0, -0.99, 1.0), (1.0, 1.0, 1.0), (30.0, 0.999, 20.0), (0.01, 0.5, 0.02)):
        triple, size = pair(s_u, q, s_v), expectation(φ, φ, s_u, 1.0, s_v, places)
        value = number(expectation(φ, φ, s_u, q, s_v, places))
        assert_close(φ.dual(*triple), value, rtol=1e-9, scale=abs(size) + s_u * s_v)
        slopes = number(expectation(slope, slope, s_u, q, s_v, places))
        assert_close(φ.dual_11(*triple), slopes, rtol=1e-9, scale=1.0)
        # Stein's lemma: E v φ(u)φ'(v) = cov E φ'φ' + var_v E φφ''.
        stein = expectation(φ, lambda v: v * slope(v), s_u, q, s_v, places)
        assert_close(triple[1] * slopes + triple[2] * φ.dual_02(*triple), number(stein), rtol=1e-8, scale=s_u * s_v + 1)


def test_the_derivatives_of_a_piecewise_linear_dual_are_its_finite_differences():
    φ, h = PiecewiseLinear(((-1.0, 1.0), (0.5, -2.0)), 0.3, 1.0), 1e-5
    start = [torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.4], [0.4, -0.2], [0.7, 2.0])]
    for moment in (φ.dual, φ.dual_11):
        inputs = [t.clone().requires_grad_() for t in start]
        for i, gradient in enumerate(torch.autograd.grad(moment(*inputs).sum(), inputs)):
            up, down = ([t + sign * h * (i == j) for j, t in enumerate(start)] for sign in (1, -1))
            assert_close(gradient, (moment(*up) - moment(*down)) / (2 * h), rtol=1e-8, scale=1.0)


@pytest.mark.parametrize("degree", range(6))
def test_piecewise_linear_coefficients_are_those_of_panels_and_differentiable(degree):
    φ, s, h = (
        as_activation(nn.Hardtanh()),
        torch.tensor([0.3, 1.0, 20.0], dtype=torch.float64, requires_grad=True),
        1e-5,
    )
    (gradient,) = torch.autograd.grad((φ.hermite(degree, s) + 0 * s).sum(), s)
    assert_close(gradient, ((φ.hermite(degree, s + h) - φ.hermite(degree, s - h)) / (2 * h)), rtol=1e-8, scale=1.0)
    by_panels = Quadrature(F.hardtanh).hermite(degree, s)
    assert_close(by_panels, φ.hermite(degree, s), rtol=1e-10, scale=1.0)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    kink=st.floats(-3, 3),
    change=st.floats(-2, 2).filter(lambda c: abs(c) > 0.01),
    bend=st.floats(-2, 2),
    log_scale=st.floats(-2, 2),
    ratio=st.floats(0.5, 2),
    closeness=st.floats(0, 5),
    sign=st.sampled_from([1, -1]),
)
def test_no_error_is_larger_than_is_said(kink, change, bend, log_scale, ratio, closeness, sign):
    def f(x):
        return change * torch.relu(x - kink) + bend * torch.nn.functional.silu(x)

    φ, s_u, q = as_activation(f), 10**log_scale, sign * (1 - 10**-closeness)
    s_v, slope = ratio * s_u, derivative(f)
    reported = [2e-9 + max(*e) for e in zip(φ.error(number(s_u)), φ.error(number(s_v)), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for moment, g, error in ((φ.dual, f, reported[0]), (φ.dual_11, slope, reported[1])):
            try:
                value = float(moment(*pair(s_u, q, s_v)))
            except ValueError:
                assert error > 0.1
                continue
            size = (expectation(g, g, s_u, 1.0, s_u, [kink]) * expectation(g, g, s_v, 1.0, s_v, [kink])) ** 0.5
            assert abs(value - expectation(g, g, s_u, q, s_v, [kink])) <= error * size + 1e-12


def test_a_large_error_is_said_once_and_a_meaningless_number_refused():
    φ = Quadrature(F.softsign)
    with pytest.warns(UserWarning, match=r"E φ'φ' of softsign at standard deviation 5 is off by up to .* of its size"):
        φ.dual_11(*pair(5.0, 0.999, 5.0))
    φ.dual_11(*pair(5.0, 0.999, 5.0))  # a warning would be an error here
    with pytest.raises(ValueError, match=r"`activation` must be .*E φφ of <lambda> at standard deviation 30, error"):
        Quadrature(lambda x: torch.exp(-(x**2))).dual(*pair(30.0, 0.9999, 30.0))
    with pytest.raises(ValueError, match=r"E φφ of exp at"):
        Quadrature(torch.exp).dual(*pair(100.0, 0.5, 100.0))


def test_a_narrow_function_at_a_large_scale_is_right_at_equal_inputs():
    # E exp(−2 s² z²) = 1/√(1 + 4s²)
    φ = Quadrature(lambda x: torch.exp(-(x**2)))
    assert_close(φ.dual(*pair(30.0, 1.0, 30.0)), number((1 + 4 * 900) ** -0.5), rtol=1e-10)


def test_a_copy_has_the_same_value_and_forgets_no_error():
    φ = Quadrature(F.elu)
    value = φ.dual(*pair(2.0, 0.5, 2.0))
    assert_close(copy.deepcopy(φ).dual(*pair(2.0, 0.5, 2.0)), value)
    assert copy.deepcopy(φ) == φ


def test_probing_leaves_no_trace():
    module = nn.BatchNorm1d(5, affine=False)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    for function in (module, nn.Dropout(0.5)):
        with pytest.raises(ValueError, match="must be"):
            as_activation(function)
    assert module.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
