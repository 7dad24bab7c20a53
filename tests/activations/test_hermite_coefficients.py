"""c_k(s) = E φ(sz) h_k(z), and the polynomials h_k."""

import pytest
import torch

from assertions import assert_close
from cases import ACTIVATIONS, CLOSED_FORM, SMOOTH
from mupi import GELU, Abs, Cos, Erf, Identity, LeakyReLU, Polynomial, Quadrature, ReLU, Sin, Tanh
from mupi.activations.hermite_polynomials import gauss_hermite, hermite_polynomials
from mupi.testing.moments import hermite_coefficient

SCALES = torch.tensor([0.0, 0.1, 1.0, 1.7], dtype=torch.float64)


@pytest.mark.parametrize("name", CLOSED_FORM)
@pytest.mark.parametrize("degree", [*range(9), 15, 20])
def test_closed_coefficients_are_the_gaussian_expectations(name, degree):
    φ = CLOSED_FORM[name]
    expected = torch.tensor([hermite_coefficient(φ, degree, float(s)) for s in SCALES], dtype=torch.float64)
    assert_close(φ.hermite(degree, SCALES), expected, rtol=1e-12, scale=1.0)


@pytest.mark.parametrize("name", ["erf", "gelu", "tanh"])
@pytest.mark.parametrize("degree", range(4))
def test_coefficients_are_right_at_the_scale_of_real_junctions(name, degree):
    # A junction of rank 400 on normalised images has |g| ≈ 20.
    φ, scale = ACTIVATIONS[name], torch.tensor([10.0, 20.0], dtype=torch.float64)
    expected = torch.tensor([hermite_coefficient(φ, degree, float(s)) for s in scale], dtype=torch.float64)
    assert_close(φ.hermite(degree, scale), expected, rtol=1e-6, scale=max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", SMOOTH)
def test_the_slope_of_c_0_is_s_times_the_mean_curvature(name):
    # d/ds E φ(sz) = E z φ'(sz) = s E φ''(sz) = s √2/s² c_2(s), by Stein's lemma twice.
    φ, s = SMOOTH[name], torch.tensor([0.5, 1.2], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((φ.hermite(0, s) + 0 * s).sum(), s)  # c_0 of an odd φ may be constant
    assert_close(slope, 2**0.5 * φ.hermite(2, s) / s, rtol=1e-9, scale=1.0)


@pytest.mark.parametrize(
    ("φ", "present"),
    [
        (ReLU(), {0, 1, 2, 4, 6}),
        (LeakyReLU(0.1), {0, 1, 2, 4, 6}),
        (LeakyReLU(1.0), {1}),
        (Abs(), {0, 2, 4, 6}),
        (Erf(), {1, 3, 5}),
        (Tanh(), {1, 3, 5}),
        (Sin(), {1, 3, 5}),
        (Cos(), {0, 2, 4, 6}),
        (GELU(), {0, 1, 2, 4, 6}),
        (Identity(), {1}),
        (Polynomial((0.0, 0.0, 1.0)), {0, 2}),
        (Polynomial((0.0, 0.0, 0.0, 1.0)), {1, 3}),
        (Quadrature(torch.relu), {0, 1, 2, 4, 6}),
    ],
)
def test_has_degree_tells_which_degrees_an_activation_has(φ, present):
    assert {k for k in range(7) if φ.has_degree(k)} == present


def test_hermite_polynomials_are_orthonormal():
    z, weight = gauss_hermite(40)
    h = torch.stack(hermite_polynomials(12, z))
    assert_close((h * weight) @ h.T, torch.eye(13, dtype=torch.float64))


@pytest.mark.parametrize("degree", [0, 1, 5])
def test_hermite_polynomials_gives_degrees_0_to_k(degree):
    assert len(hermite_polynomials(degree, torch.zeros(3))) == degree + 1


def test_gauss_hermite_integrates_polynomials_exactly():
    x, weight = gauss_hermite(5)
    # E z⁸ = 105, the highest even power below 2·5.
    assert_close((weight * x**8).sum(), torch.tensor(105.0, dtype=torch.float64))
    assert_close(weight.sum(), torch.tensor(1.0, dtype=torch.float64))
