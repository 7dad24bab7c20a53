"""What is particular to single activations: values, slopes, derivatives, arguments."""

import math

import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn
from mupi import GELU, Abs, Cos, Erf, Identity, LeakyReLU, Polynomial, Quadrature, ReLU, Sin, Tanh
from mupi.activations import as_activation
from mupi.testing.moments import expectation


@pytest.mark.parametrize(
    ("φ", "function"),
    [
        (ReLU(), torch.nn.functional.relu),
        (LeakyReLU(0.1), lambda x: torch.nn.functional.leaky_relu(x, 0.1)),
        (Abs(), torch.abs),
        (Erf(), torch.erf),
        (GELU(), torch.nn.functional.gelu),
        (Sin(), torch.sin),
        (Cos(), torch.cos),
        (Tanh(), torch.tanh),
        (Identity(), lambda x: x),
        (Polynomial((1.0, 0.0, -2.0)), lambda x: 1 - 2 * x**2),
    ],
    ids=lambda case: type(case).__name__,
)
def test_an_activation_is_the_function_of_its_name(φ, function):
    x = 3 * randn(4, 5)
    assert_close(φ(x), function(x))


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.5, 1.0, 2.0])
def test_leaky_relu_interpolates_between_abs_relu_and_identity(slope):
    # κ is quadratic in φ = (1 + slope)/2 x + (1 − slope)/2 |x|, without a cross term.
    var_u, cov, var_v = (torch.tensor([v], dtype=torch.float64) for v in (1.0, 0.4, 2.0))
    expected = ((1 + slope) / 2) ** 2 * cov + ((1 - slope) / 2) ** 2 * Abs().dual(var_u, cov, var_v)
    assert_close(LeakyReLU(slope).dual(var_u, cov, var_v), expected)


def test_leaky_relu_of_slope_0_is_relu():
    var_u, cov, var_v = (torch.tensor([v], dtype=torch.float64) for v in (1.0, 0.4, 2.0))
    for name in ("dual", "dual_11", "dual_02"):
        assert_close(getattr(LeakyReLU(0.0), name)(var_u, cov, var_v), getattr(ReLU(), name)(var_u, cov, var_v))


def test_relu_is_the_kernel_of_the_paper():
    # √(var_u var_v)(√(1 − q²) + q(π − arccos q))/2π
    q = torch.linspace(-1, 1, 9, dtype=torch.float64)
    one = torch.ones_like(q)
    expected = ((1 - q**2).sqrt() + q * (math.pi - q.acos())) / (2 * math.pi)
    assert_close(ReLU().dual(one, q, one), expected)
    assert_close(ReLU().dual_11(one, q, one), (math.pi - q.acos()) / (2 * math.pi))
    assert_close(ReLU().dual_02(one, q, one), (1 - q**2).sqrt() / (2 * math.pi))


def test_relu_at_opposite_vectors_is_exactly_0_and_at_equal_ones_half_the_variance():
    for dtype in (torch.float32, torch.float64):
        var = torch.tensor([1.0, 4.0], dtype=dtype)
        assert_equal(ReLU().dual(var, -var, var).abs().lt(1e-6 * var), torch.ones(2, dtype=torch.bool))
        assert_close(ReLU().dual(var, var, var), var / 2)


def test_the_derivative_of_a_polynomial():
    φ = Polynomial((5.0, 1.0, -2.0, 3.0))
    assert φ.derivative() == Polynomial((1.0, -4.0, 9.0))
    x = randn(6).requires_grad_()
    (slope,) = torch.autograd.grad(φ(x).sum(), x)
    assert_close(φ.derivative()(x), slope)


def test_the_derivative_of_a_constant_is_0():
    assert Polynomial((2.0,)).derivative()(torch.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("coefficients", [(2.0,), (0.0, 1.0), (1.0, -1.0, 0.5, 0.0, 0.25)])
def test_polynomial_duals_are_exact(coefficients):
    φ, triple = Polynomial(coefficients), (2.0, -0.7, 1.5)
    one_by_one = [torch.tensor([v], dtype=torch.float64) for v in triple]
    second = φ.derivative().derivative()
    expected = torch.tensor([expectation(lambda u, v: φ(u) * φ(v), *triple)], dtype=torch.float64)
    assert_close(φ.dual(*one_by_one), expected, rtol=1e-12)
    expected = torch.tensor([expectation(lambda u, v: φ(u) * second(v), *triple)], dtype=torch.float64)
    assert_close(φ.dual_02(*one_by_one), expected, rtol=1e-12, scale=1.0)


def test_the_degree_of_a_polynomial_is_its_highest_power():
    assert Polynomial((1.0, 2.0, 3.0)).degree == 2
    assert Identity().degree == 1


def test_sin_squared_plus_cos_squared_is_1():
    var, cov = torch.tensor([1.3], dtype=torch.float64), torch.tensor([1.3], dtype=torch.float64)
    assert_close(Sin().dual(var, cov, var) + Cos().dual(var, cov, var), torch.ones(1, dtype=torch.float64))


# Callables, by quadrature


@pytest.mark.parametrize("nodes", [32, 64, 128])
def test_a_kinked_callable_converges_like_1_over_nodes(nodes):
    φ = Quadrature(lambda x: torch.where(x > 0, x, 0.2 * x), nodes)
    exact = LeakyReLU(0.2)
    q = torch.linspace(-1, 1, 21, dtype=torch.float64)
    one = torch.ones_like(q)
    assert_close(φ.dual(one, q, one), exact.dual(one, q, one), rtol=0.15 / nodes, scale=1.0)
    assert_close(φ.dual_11(one, q, one), exact.dual_11(one, q, one), rtol=1.0 / nodes, scale=1.0)


def test_a_smooth_callable_agrees_with_its_closed_form():
    φ, exact = Quadrature(torch.erf), Erf()
    var_u, cov, var_v = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.5], [0.3, -0.4], [0.2, 1.0]))
    for name in ("dual", "dual_11", "dual_02"):
        assert_close(getattr(φ, name)(var_u, cov, var_v), getattr(exact, name)(var_u, cov, var_v), rtol=1e-10)


def test_a_callable_with_python_arithmetic_only_will_do():
    φ, exact = as_activation(lambda x: 2 * x**3 - x), Polynomial((0.0, -1.0, 0.0, 2.0))
    var_u, cov, var_v = (torch.tensor([v], dtype=torch.float64) for v in (1.0, 0.4, 2.0))
    for name in ("dual", "dual_11", "dual_02"):
        assert_close(getattr(φ, name)(var_u, cov, var_v), getattr(exact, name)(var_u, cov, var_v), rtol=1e-11)


def test_a_constant_callable_has_no_slope():
    φ, one = Quadrature(torch.ones_like), torch.ones(1, dtype=torch.float64)
    assert_close(φ.dual(one, 0.5 * one, one), one)
    assert_close(φ.dual_11(one, 0.5 * one, one), 0 * one, scale=1.0)


def test_as_activation_leaves_activations_alone_and_wraps_callables():
    relu = ReLU()
    assert as_activation(relu) is relu
    assert as_activation(torch.sigmoid) == Quadrature(torch.sigmoid)
