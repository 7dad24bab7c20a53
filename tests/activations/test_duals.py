"""E φφ, E φ'φ' and E φφ'' of every activation against nested quadrature, Mehler's formula and Price's theorem."""

import pytest
import torch

from assertions import assert_close
from cases import ACTIVATIONS, CLOSED_FORM, SMOOTH
from mupi import ReLU
from oracles.gaussian import moments

# (var_u, cosine, var_v): roots of the variances are exact, so that cov at q = ±1 is too.
PAIRS = [
    (1.0, -1.0, 1.0),
    (1.0, -0.999, 0.25),
    (0.0625, -0.5, 1.0),
    (1.0, 0.0, 0.25),
    (0.25, 0.3, 1.0),
    (1.0, 0.9, 1.0),
    (0.25, 0.9999, 1.0),
    (1.0, 1.0, 1.0),
    (0.25, 1.0, 0.0625),
]
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


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_duals_are_the_gaussian_expectations(name):
    φ = ACTIVATIONS[name]
    for value, expected in zip(by_library(φ, PAIRS), by_quadrature(φ, PAIRS), strict=True):
        assert_close(value, expected, rtol=1e-10, scale=1.0)


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


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_duals_in_float32_are_those_in_float64(name):
    φ = ACTIVATIONS[name]
    pairs = PAIRS + (WIDE if name in CLOSED_FORM else [])
    for value, expected in zip(by_library(φ, pairs, torch.float32), by_library(φ, pairs), strict=True):
        assert value.dtype == torch.float32
        # −0.999 and 0.9999 round in float32, and kinks are as sensitive to them as √(1 − q²): 6e-8/0.014.
        assert_close(value, expected, rtol=3e-5, scale=max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_vectors_give_the_one_dimensional_expectation(name, dtype, sign):
    φ = ACTIVATIONS[name]
    var = torch.tensor([0.25, 1.0], dtype=dtype)
    # As for u and −u; ReLU's E φ(u)φ(−u) = 0 must not come out as a rounding error of an arccos.
    expected = torch.tensor([moments(φ, v, sign * v, v) for v in (0.25, 1.0)], dtype=torch.float64)
    for moment, value in zip((φ.dual, φ.dual_11, φ.dual_02), expected.unbind(1), strict=True):
        assert_close(moment(var, sign * var, var), value, rtol=1e-10 if dtype == torch.float64 else 1e-5, scale=1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_mehler_sum_of_hermite_coefficients_is_the_dual(name):
    φ = ACTIVATIONS[name]
    pairs = [(0.25, 0.5, 0.16), (0.36, -0.4, 0.25), (0.09, 0.0, 0.25), (0.25, 0.6, 0.0)]
    var_u, cosine, var_v = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    # 0.6^60 = 5e-14 bounds what is left out.
    total = sum(φ.hermite(k, var_u.sqrt()) * φ.hermite(k, var_v.sqrt()) * cosine**k for k in range(60))
    assert_close(total, φ.dual(var_u, cosine * (var_u * var_v).sqrt(), var_v), rtol=1e-12, scale=1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_of_the_dual_is_its_finite_difference(name):
    φ = ACTIVATIONS[name]
    var_u, cov, var_v = triples([p for p in PAIRS if abs(p[1]) < 0.99])
    inputs = [t.clone().requires_grad_() for t in (var_u, cov, var_v)]
    gradients = torch.autograd.grad(φ.dual(*inputs).sum(), inputs)
    h = 1e-5
    for i, gradient in enumerate(gradients):
        up, down = ([t + sign * h * (i == j) for j, t in enumerate((var_u, cov, var_v))] for sign in (1, -1))
        # A central difference of step 1e-5 has an error of about h² and ε/h, 1e-10 each.
        assert_close(gradient, (φ.dual(*up) - φ.dual(*down)) / (2 * h), rtol=1e-8, scale=1.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_dual_can_be_differentiated_twice(name):
    φ = SMOOTH[name]
    inputs = [t.requires_grad_() for t in triples([(1.0, 0.4, 0.5), (0.7, -0.6, 0.3)])]
    assert torch.autograd.gradgradcheck(φ.dual, inputs, fast_mode=True)


def test_the_second_derivative_of_a_kinked_dual_is_right_away_from_the_kink():
    inputs = [t.requires_grad_() for t in triples([(1.0, 0.4, 0.5), (0.7, -0.6, 0.3)])]
    assert torch.autograd.gradgradcheck(ReLU().dual, inputs)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dual_gradient_is_dual_11_and_dual_02(name):
    φ = ACTIVATIONS[name]
    first, second = φ.dual_gradient(*triples(PAIRS))
    assert torch.equal(first, φ.dual_11(*triples(PAIRS)))
    assert torch.equal(second, φ.dual_02(*triples(PAIRS)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_dual_is_symmetric(name):
    φ = ACTIVATIONS[name]
    var_u, cov, var_v = triples(PAIRS)
    assert_close(φ.dual(var_u, cov, var_v), φ.dual(var_v, cov, var_u), scale=1.0)
    assert_close(φ.dual_11(var_u, cov, var_v), φ.dual_11(var_v, cov, var_u), scale=1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_broadcast_like_their_arguments(name):
    φ = ACTIVATIONS[name]
    var_u, var_v = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([[0.7], [1.5]])
    cov = 0.3 * (var_u * var_v).sqrt()
    for moment in (φ.dual, φ.dual_11, φ.dual_02):
        value = moment(var_u, cov, var_v)
        assert value.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                assert_close(value[i, j], moment(var_u[j, None], cov[i, j, None], var_v[i])[0], scale=1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_has_the_shape_of_each_broadcast_argument(name):
    var_u, cov, var_v = torch.ones(3), torch.zeros(2, 3) + 0.2, torch.ones(2, 1)
    inputs = [t.requires_grad_() for t in (var_u, cov, var_v)]
    ACTIVATIONS[name].dual(*inputs).sum().backward()
    assert [t.grad.shape for t in inputs] == [(3,), (2, 3), (2, 1)]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_empty_tensors_give_empty_moments(name, shape):
    φ, empty = ACTIVATIONS[name], torch.ones(shape)
    for moment in (φ.dual, φ.dual_11, φ.dual_02):
        assert moment(empty, empty, empty).shape == shape


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_keep_the_dtype(name):
    φ = ACTIVATIONS[name]
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype)
        moments = [moment(one, 0.5 * one, one) for moment in (φ.dual, φ.dual_11, φ.dual_02)]
        assert {m.dtype for m in moments} == {dtype}
        assert φ.hermite(2, one).dtype == φ(one).dtype == dtype
