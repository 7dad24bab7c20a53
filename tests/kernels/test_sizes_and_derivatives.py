"""Kernels of inputs of any size, their second derivatives, `torch.func`, and the refusal of what is no kernel."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch.func import grad, hessian, jacrev, vmap

from assertions import assert_close
from cases import randn
from mupi import GELU, NNGP, NTK, Abs, Cos, Erf, LeakyReLU, ReLU, Sin
from mupi.activations.scaled import Scaled
from mupi.kernels import ConvNNGP, ConvNTK, CosineKernel, centered_alignment

KERNELS = {
    "nngp": NNGP(2, ReLU(), 1.2, 0.1),
    "ntk": NTK(2, ReLU(), 1.2, 0.1),
    "conv-nngp": ConvNNGP((1, 2, 3), 2, ReLU(), False, 3, 1.2, 0.1),
    "conv-ntk": ConvNTK((1, 2, 3), 2, ReLU(), True, 3, 1.2, 0.1),
}


@pytest.mark.parametrize("φ", [ReLU(), LeakyReLU(0.2), Abs(), Erf()], ids=str)
@pytest.mark.parametrize("kernel", [NNGP, NTK])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_second_derivatives_at_equal_inputs(kernel, φ, dtype):
    k, x = kernel(2, φ, 1.1), randn(4, dtype=dtype)
    own, mixed = torch.autograd.functional.hessian(lambda a, b: k(a[None], b[None])[0, 0], (x, x.clone()))[0]
    along = torch.autograd.functional.hessian(lambda a: k.diagonal(a[None])[0], x)
    assert_close(2 * own + mixed + mixed.T, along)
    if not isinstance(φ, Erf):
        # k(x, x) is a multiple of |x|², and with an angle t to x' it is c (1 − s t) + O(t²) on average over ±t.
        unit = k.diagonal(x[None])[0] / x.square().sum() * torch.eye(4, dtype=dtype)
        assert_close(along, 2 * unit)
        assert_close(own, torch.zeros(4, 4), scale=1.0)
        assert_close(mixed, unit)


# Forward differentiation makes PyTorch script some of its own functions, and warn of it.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", KERNELS)
def test_transforms_of_torch_func_are_autograd(name):
    k, x = KERNELS[name], randn(2, 6)

    def total(a):
        return k(a[None], x).sum()

    gradient = torch.autograd.functional.jacobian(total, x[0])
    assert torch.autograd.gradcheck(k, (x.clone().requires_grad_(), x.clone().requires_grad_() + 0.1), fast_mode=True)
    assert_close(grad(total)(x[0]), gradient)
    assert_close(jacrev(total)(x[0]), gradient)
    assert_close(vmap(grad(total))(x)[0], gradient)
    assert_close(hessian(total)(x[0]), torch.autograd.functional.hessian(total, x[0]))


@pytest.mark.parametrize("kernel", [NNGP, NTK])
@pytest.mark.parametrize("φ", [ReLU(), Erf(), GELU()], ids=str)
@pytest.mark.parametrize("scale", [1e-10, 300.0, 1e3, 1e10])
def test_float32_is_float64_at_any_size(kernel, φ, scale):
    x, k = (scale * randn(5, 6)).float(), kernel(2, φ)
    assert_close(k(x), k(x.double()), rtol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "φ", "scale"),
    [
        ("nngp", Erf(), 1e3),
        ("ntk", Erf(), 30.0),
        ("conv-nngp", Cos(), 300.0),
        ("conv-ntk", Erf(), 300.0),
        ("ntk", GELU(), 1e3),
        ("ntk", Sin(), 30.0),
        ("ntk", Scaled(Erf(), 10.0, 1.0), 30.0),
    ],
    ids=str,
)
def test_opposite_and_parallel_inputs_beside_biases_keep_their_angle_in_float32(kernel, φ, scale):
    # With σ_b = 1 neither −x nor 3x is parallel to x: E φ'φ' of erf is a half of what it is at parallel inputs.
    k, x = replace(KERNELS[kernel], activation=φ, sigma_b=1.0), (scale * randn(3, 6)).float()
    x = torch.cat([x, -x[:1], 3 * x[:1]])
    exact = k(x.double())
    assert_close(k(x), exact, rtol=1e-6)
    assert_close(k(x[:2], x), exact[:2], rtol=1e-6)
    assert_close(k.diagonal(x), exact.diagonal(), rtol=1e-6)
    leaf, wide = x[:1].clone().requires_grad_(), x[:1].double().requires_grad_()
    (slope,) = torch.autograd.grad(k(leaf, x)[0].sum(), leaf)
    (expected,) = torch.autograd.grad(k(wide, x.double())[0].sum(), wide)
    assert slope.dtype == torch.float32
    assert_close(slope, expected, rtol=1e-5)
    if kernel == "conv-ntk":
        assert_close(grad(lambda a: k(a, x)[0].sum())(x[:1]), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "kernel", [NTK(1, Erf(), 1.0, 1.0), ConvNTK((1, 1, 2), 1, Erf(), sigma_b=1.0)], ids=["", "conv"]
)
def test_angles_that_no_dtype_resolves_are_refused_where_they_decide(kernel, dtype):
    x = 1e10 * torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=dtype)
    # At unlike inputs E φ'φ' is 0 beside the diagonal, and equal ones are known to be.
    assert float((kernel(x) / kernel(x)[0, 0])[0, 1]) < 1e-5
    assert_close(kernel(x, x.clone()), kernel(x), rtol=1e-6)
    for call in (lambda: kernel(torch.cat([x, -x])), lambda: kernel(x, -x), lambda: kernel(x.requires_grad_(), -x)):
        with pytest.raises(ValueError, match=r"NTK\(x1, x2\)` must be inputs whose angles float64 resolves.*scale the"):
            call()


def test_angles_that_no_dtype_resolves_are_taken_where_they_decide_nothing():
    x = 1e10 * torch.tensor([[3.0, 1.0], [1.0, 2.0], [-3.0, -1.0]])
    # erf is a step, and GELU a rectifier, of such inputs.
    unit = torch.nn.functional.normalize(x.double())
    step = 2 / torch.pi * torch.asin((unit @ unit.T).clamp(-1, 1)) + 1
    assert_close(NNGP(1, Erf(), 1.0, 1.0)(x), step, rtol=1e-6)
    assert_close(NTK(2, GELU(), 1.0, 1.0)(x), NTK(2, ReLU(), 1.0, 1.0)(x.double()), rtol=1e-6)
    assert_close(NTK(1, Erf(), 1.0)(x)[0, 2], -NTK(1, Erf(), 1.0)(x)[0, 0], rtol=1e-6)


def test_patches_of_an_image_whose_angles_are_not_resolved_are_refused():
    kernel = ConvNTK((1, 1, 3), 1, Erf(), True, 1, sigma_b=1.0)
    for call in (kernel, kernel.diagonal):
        with pytest.raises(ValueError, match="must be inputs whose angles float64 resolves"):
            call(1e10 * torch.tensor([[3.0, -3.0, 1.0]]))


def test_inputs_whose_squares_overflow_keep_their_kernel():
    x = torch.tensor([[1e19, 1e19], [1e19, 5e18]])
    assert_close(NNGP(1, ReLU())(x), NNGP(1, ReLU())(x.double()))
    assert_close(NNGP(1, Erf())(x), NNGP(1, Erf())(x.double()), rtol=1e-5)


@pytest.mark.parametrize("kernel", [NNGP(1, ReLU()), ConvNTK((1, 1, 2), 1, ReLU())], ids=["dense", "conv"])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_inputs_that_a_dtype_cannot_square_are_refused(kernel, scale):
    x, name = scale * torch.ones(1, 2), type(kernel).__name__
    for call in (lambda: kernel(x), lambda: kernel(torch.ones(1, 2), x), lambda: kernel(x.clone().requires_grad_())):
        with pytest.raises(ValueError, match=rf"^`{name}\(x[12]\)` must be of a size.*scale the inputs"):
            call()


class Broken(ReLU):
    """A ReLU whose kernel is larger between inputs than on the diagonal."""

    def dual_00(self, var_u, cov, var_v):
        """Wrong where u is not v."""
        return super().dual_00(var_u, cov, var_v) + (var_u != var_v) * 10.0


def test_a_kernel_that_breaks_cauchy_schwarz_is_refused():
    with pytest.raises(ValueError, match=r"^`NNGP\(x1, x2\)` must be .*√\(k\(x, x\) k\(x', x'\)\).*beside a bound of"):
        NNGP(1, Broken())(randn(3, 4))


def test_sigmas_whose_square_overflows_are_refused():
    with pytest.raises(ValueError, match=r"sigma_w=...\)` must be a number whose square is finite"):
        NNGP(1, Sin(), 1e200)


def test_the_cosine_of_a_tiny_kernel_is_a_cosine():
    x = randn(3, 4)
    k = CosineKernel(
        lambda a, b: (a @ b.T * 1e-20).float() * 1e-20, lambda a: (a.square().sum(1) * 1e-20).float() * 1e-20
    )
    assert_close(k(x, x).diagonal(), torch.ones(3), rtol=1e-3)
    with pytest.raises(ValueError, match=r"`CosineKernel\(diagonal=...\)`"):
        CosineKernel(lambda a, b: a @ b.T, lambda a: -a[:, 0].abs())(x, x)


def test_alignment_of_kernels_of_any_size():
    k, other = randn(5, 5), randn(5, 5, seed=1)
    expected = centered_alignment(k, other)
    assert_close(centered_alignment(1e200 * k, 1e-200 * other), expected)
    with pytest.raises(ValueError, match="a constant one"):
        centered_alignment(torch.full((7, 7), 0.1), torch.eye(7) * sqrt(2))
