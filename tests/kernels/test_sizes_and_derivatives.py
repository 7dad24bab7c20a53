"""Kernels of inputs of any size, their second derivatives, `torch.func`, and the refusal of what is no kernel."""

from math import sqrt

import pytest
import torch
from torch.func import grad, hessian, jacrev, vmap

from assertions import assert_close
from cases import randn
from mupi import GELU, NNGP, NTK, Abs, Erf, LeakyReLU, ReLU, Sin
from mupi.kernels import ConvNNGP, ConvNTK, CosineKernel, centred_alignment

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
    expected = centred_alignment(k, other)
    assert_close(centred_alignment(1e200 * k, 1e-200 * other), expected)
    with pytest.raises(ValueError, match="a constant one"):
        centred_alignment(torch.full((7, 7), 0.1), torch.eye(7) * sqrt(2))
