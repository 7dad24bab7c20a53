"""Zero variances, nearly parallel vectors and large variances: the value and the gradient through the vectors."""

import math

import pytest
import torch

from assertions import assert_close
from cases import ACTIVATIONS, CLOSED_FORM, SMOOTH, randn, seeded
from mupi import GELU, Abs, Erf, LeakyReLU, Polynomial, ReLU
from mupi.features import gram


def kernel_and_gradient(φ, b, g):
    """κ(b, g) and ∂κ/∂g for each pair of rows, as a layer takes them."""
    g = g.clone().requires_grad_()
    value = φ.dual(b.square().sum(-1), (b * g).sum(-1), g.square().sum(-1))
    (gradient,) = torch.autograd.grad(value.sum(), g)
    return value.detach(), gradient


def at_angle(angle, dtype, size=5, scale=1.0):
    """Two vectors of norms 1 and ``scale`` at an angle, in general position; their float64 originals are equal."""
    basis = torch.linalg.qr(randn(size, 2)).Q
    b = basis[:, 0]
    g = scale * (math.cos(angle) * basis[:, 0] + math.sin(angle) * basis[:, 1])
    # Rounded to float32 first, so that both dtypes see the same two vectors.
    return b.float().to(dtype)[None], g.float().to(dtype)[None]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("angle", [1e-3, 1e-5, 0.0, math.pi - 1e-3, math.pi - 1e-5, math.pi])
def test_nearly_parallel_vectors_in_float32_are_as_in_float64(name, angle):
    φ = ACTIVATIONS[name]
    value, gradient = kernel_and_gradient(φ, *at_angle(angle, torch.float32))
    expected, expected_gradient = kernel_and_gradient(φ, *at_angle(angle, torch.float64))
    assert_close(value, expected, rtol=2e-6, scale=1.0)
    # The angle from rounded norms and products is off by up to √ε = 3e-4. In the gradient the terms along b and g
    # of a kink share this error with opposite signs, so that what remains is of second order; 2e-6 shows that.
    assert_close(gradient, expected_gradient, rtol=2e-6, scale=1.0)


@pytest.mark.parametrize("name", CLOSED_FORM)
@pytest.mark.parametrize("angle", [1e-2, 1e-3, 3e-4])
def test_moments_in_float32_are_those_of_the_same_three_numbers_in_float64(name, angle):
    # var_u var_v − cov² cancels: in float32 an angle of 1e-3 would be off by a tenth.
    var_u, var_v = (1 + torch.rand(50, dtype=torch.float64, generator=seeded(seed)) for seed in (0, 1))
    cov = math.cos(angle) * (var_u * var_v).sqrt()
    single = [t.float() for t in (var_u, cov, var_v)]
    φ = CLOSED_FORM[name]
    for moment in (φ.dual, φ.dual_11, φ.dual_02):
        assert_close(moment(*single), moment(*[t.double() for t in single]), rtol=2e-6, scale=1.0)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_curvature_at_zero_variance_is_that_of_a_smooth_activation_at_0(name, dtype):
    # E φ(u)φ''(v) → E φ(u) · φ''(0) as v vanishes.
    φ = ACTIVATIONS[name]
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(φ(x[None])[0], x, create_graph=True)
    curvature = torch.autograd.grad(slope, x)[0] if slope.requires_grad else torch.zeros(())
    one, null = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    mean = φ.hermite(0, torch.ones(1, dtype=torch.float64))
    # A quadrature takes φ'' from values of φ, of which a float32 leaves half the digits.
    rtol = 1e-4 if dtype == torch.float32 else 1e-10
    assert_close(φ.dual_02(one, null, null), (mean * curvature).to(dtype), rtol=rtol, scale=1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("φ", [ReLU(), LeakyReLU(0.2), Abs()], ids=["relu", "leaky", "abs"])
def test_the_gradient_at_a_zero_vector_is_the_mean_over_directions(φ, dtype):
    # κ(b, g) is homogeneous in g, with slope φ'(0±) ; its mean over opposite directions is α² b, α = E φ'.
    b = randn(1, 4, dtype=dtype)
    _, at_zero = kernel_and_gradient(φ, b, torch.zeros(1, 4, dtype=dtype))
    assert_close(at_zero, φ.odd**2 * b, scale=1.0)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_float32_keeps_its_accuracy_at_large_variance(name):
    # Entries of g of a few hundred are what unnormalised data give.
    φ = CLOSED_FORM[name]
    b, g = randn(6, 5), 100 * randn(6, 5, seed=1)
    g[3:] = 100 * b[3:]  # parallel
    value, gradient = kernel_and_gradient(φ, b.float(), g.float())
    expected, expected_gradient = kernel_and_gradient(φ, b.float().double(), g.float().double())
    assert_close(value, expected, rtol=1e-5, scale=max(1.0, float(expected.abs().max())))
    assert_close(gradient, expected_gradient, rtol=1e-5, scale=max(1.0, float(expected_gradient.abs().max())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("φ", [ReLU(), LeakyReLU(), Abs(), Erf(), GELU()], ids=lambda φ: type(φ).__name__)
def test_huge_parallel_vectors_do_not_give_nan(φ, dtype):
    # A product rounded up makes the cosine exceed 1 by an ulp.
    var = torch.tensor([1e6, 1e8, 1e10], dtype=dtype)
    cov = torch.nextafter(var, 2 * var)
    for moment in (φ.dual, φ.dual_11, φ.dual_02):
        assert torch.isfinite(moment(var, cov, var)).all()
        assert torch.isfinite(moment(var, -cov, var)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_erf_saturates_at_large_variance(dtype):
    var = torch.tensor([1e8], dtype=dtype)
    assert_close(Erf().dual(var, var, var), torch.ones(1), rtol=1e-3)


@pytest.mark.parametrize("name", SMOOTH)
def test_tiny_vectors_give_the_linearized_activation(name):
    φ = SMOOTH[name]
    b, g = 1e-6 * randn(3, 4), 1e-6 * randn(3, 4, seed=1)
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = φ(x)
    slope = torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros(1)
    var_b, cov, var_g = gram(b, g)
    # What is left out is of the order of the variances, 1e-11.
    assert_close(φ.dual(var_b, cov, var_g), value.detach() ** 2 + slope**2 * cov, rtol=1e-10, scale=1.0)


def test_a_polynomial_has_no_edge():
    φ, null = Polynomial((1.0, 2.0, 3.0)), torch.zeros(1)
    assert_close(φ.dual(null, null, null), torch.ones(1))
    assert_close(φ.dual_02(null, null, null), torch.tensor([6.0]))
