"""NNGP and NTK of every activation against the recursion by nested quadrature, and the identities between them."""

from math import sqrt

import pytest
import torch

from assertions import assert_close, assert_equal, fitted_slope, root_mean_square
from cases import ACTIVATIONS, randn, seeded
from mupi import Abs, Atoms, Erf, Identity, PiMLP, ReLU, Sin
from mupi.architecture.kernel import matrices
from mupi.kernels import NNGP, NTK, tiles
from mupi.testing.moments import derivative, expectation

BOTH = [NNGP, NTK]
DTYPES = [torch.float32, torch.float64]
# Tanh has no closed form: seconds a case, in which other tests of quadrature say as much.
QUICK = [pytest.param(name, marks=pytest.mark.slow) if name == "tanh" else name for name in ACTIVATIONS]


def inputs(n, d=5, seed=0, dtype=torch.float64):
    """Rows of mean square about 1/2, so that all variances stay where quadrature of tanh has its ten digits."""
    return randn(n, d, seed=seed, dtype=dtype) / sqrt(2)


def by_quadrature(φ, depth, σ_w, σ_b, ω, β, x, y):
    """(K^{L+1}, Θ^{L+1}) of two vectors, layer by layer from the definition."""
    slope = derivative(φ)
    d = len(x)
    k_xx, k_xy, k_yy = (σ_w**2 * float(a @ b) / d + σ_b**2 for a, b in ((x, x), (x, y), (y, y)))
    tangent = ω[0] * σ_w**2 * float(x @ y) / d + β[0]
    for layer in range(1, depth + 1):
        slopes = expectation(lambda u, v: slope(u) * slope(v), k_xx, k_xy, k_yy)
        e_xx, e_xy, e_yy = (
            expectation(lambda u, v: φ(u) * φ(v), *triple)
            for triple in ((k_xx, k_xx, k_xx), (k_xx, k_xy, k_yy), (k_yy, k_yy, k_yy))
        )
        tangent = ω[layer] * σ_w**2 * e_xy + β[layer] + σ_w**2 * tangent * slopes
        k_xx, k_xy, k_yy = (σ_w**2 * e + σ_b**2 for e in (e_xx, e_xy, e_yy))
    return k_xy, tangent


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nngp_and_ntk_are_the_recursion_by_quadrature(name):
    φ, depth, σ_w, σ_b = ACTIVATIONS[name], 2, 0.9, 0.3
    ω, β = (0.5, 2.0, 0.7), (0.4, 0.0, 0.2)
    x, y = inputs(1), torch.cat([inputs(1, seed=1), -inputs(1)])
    expected = torch.tensor(
        [[by_quadrature(φ, depth, σ_w, σ_b, ω, β, a, b) for b in y] for a in x], dtype=torch.float64
    )
    nngp, ntk = NNGP(depth, φ, σ_w, σ_b), NTK(depth, φ, σ_w, σ_b, weight_lr=ω, bias_lr=β)
    assert_close(nngp(x, y), expected[..., 0], rtol=1e-10, scale=1.0)
    assert_close(ntk(x, y), expected[..., 1], rtol=1e-10, scale=1.0)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_ntk_of_a_linear_network_is_a_sum_of_equal_layers(depth):
    x, y = inputs(3), inputs(4, seed=1)
    covariance = 1.1 ** (2 * depth + 2) * x @ y.T / 5
    assert_close(NNGP(depth, Identity(), sigma_w=1.1)(x, y), covariance)
    assert_close(NTK(depth, Identity(), sigma_w=1.1)(x, y), (depth + 1) * covariance)


@pytest.mark.parametrize("depth", [1, 3])
def test_ntk_of_a_network_of_which_only_the_readout_is_trained_is_its_nngp(depth):
    x, none = inputs(4), (0.0,) * depth
    ntk = NTK(depth, Erf(), 1.2, 0.4, weight_lr=(*none, 1.0), bias_lr=(*none, 0.4**2))
    assert_close(ntk(x), NNGP(depth, Erf(), 1.2, 0.4)(x))


def test_without_multipliers_ntk_adds_the_nngp_of_each_depth():
    x = inputs(4)
    slopes = NTK(1, Identity(), 1.2, 0.4)(x) - NNGP(1, Identity(), 1.2, 0.4)(x)
    assert_close(slopes, 1.2**2 * (1.2**2 * x @ x.T / 5 + 0.4**2))
    assert NTK(1, ReLU(), 1.2, 0.4).bias_lr == (0.4**2, 0.4**2)


def test_biases_that_start_at_zero_may_learn():
    x = inputs(4)
    with_biases, without = (NTK(1, ReLU(), bias_lr=(β, 2 * β))(x) for β in (0.5, 0.0))
    # An inner product is not always the square of the norm to the last digit, of which angles are the root.
    inner = x @ x.T / x.shape[1]
    slopes = ReLU().dual_11(inner.diagonal()[:, None], inner, inner.diagonal())
    assert_close(with_biases, without + 1.0 + 2 * 0.5 * slopes)


def test_ntk_is_linear_in_the_learning_rate_multipliers():
    x, ω, β = inputs(4), (0.5, 2.0, 0.7), (0.4, 0.1, 0.2)
    total = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(3):
        unit = tuple(float(i == j) for j in range(3))
        total += ω[i] * NTK(2, ReLU(), 1.2, 0.4, weight_lr=unit, bias_lr=(0.0,) * 3)(x)
        total += β[i] * NTK(2, ReLU(), 1.2, 0.4, weight_lr=(0.0,) * 3, bias_lr=unit)(x)
    assert_close(NTK(2, ReLU(), 1.2, 0.4, weight_lr=ω, bias_lr=β)(x), total)


@pytest.mark.parametrize("kernel", BOTH)
def test_sigma_w_only_rescales_the_kernel_of_a_relu_network_without_biases(kernel):
    x = inputs(4)
    assert_close(kernel(2, ReLU(), sigma_w=1.7)(x), 1.7**6 * kernel(2, ReLU(), sigma_w=1.0)(x))


@pytest.mark.parametrize("kernel", BOTH)
def test_any_callable_is_an_activation(kernel):
    x = inputs(3)
    assert_close(kernel(2, torch.sin, 1.0, 0.3)(x), kernel(2, Sin(), 1.0, 0.3)(x), rtol=1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kernel", BOTH)
def test_kernels_are_positive_semi_definite_and_symmetric(kernel, name):
    x = torch.cat([inputs(12), inputs(2), torch.zeros(1, 5, dtype=torch.float64)])
    K = kernel(2, ACTIVATIONS[name], 1.0, 0.3)(x)
    assert_equal(K, K.T.contiguous())
    assert torch.linalg.eigvalsh(K).min() > -1e-9 * K.trace()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("kernel", BOTH)
def test_the_diagonal_is_that_of_the_matrix(kernel, name):
    x = torch.cat([inputs(3), torch.zeros(1, 5, dtype=torch.float64)])
    k = kernel(3, ACTIVATIONS[name], 1.0, 0.3)
    assert_close(k.diagonal(x), k(x).diagonal())
    assert_close(k.diagonal(x), k(x, x.clone()).diagonal())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copy", [lambda x: x, lambda x: x.clone()], ids=["same", "clone"])
def test_equal_inputs_have_the_variance_and_all_layers_tangents(dtype, copy):
    # With 3,072 entries an inner product rounds unlike a norm.
    x = inputs(6, d=3072, dtype=dtype)
    square = x.double().square().sum(1) / 3072
    assert_close(NNGP(3, ReLU())(x, copy(x)).diagonal(), 2 * square)
    assert_close(NTK(3, ReLU())(x, copy(x)).diagonal(), 8 * square)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opposite_inputs_share_no_half_line(dtype):
    x = inputs(4, d=300, dtype=dtype)
    square = x.double().square().sum(1) / 300
    for kernel in BOTH:
        assert_close(kernel(1, ReLU())(x, -x).diagonal(), torch.zeros(4), scale=1.0)
    # For |x| the outputs agree, and the slopes are opposite as the inputs are.
    assert_close(NNGP(1, Abs())(x, -x).diagonal(), 4 * square)
    assert_close(NTK(1, Abs())(x, -x).diagonal(), 8 * square)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kernel", BOTH)
def test_zero_inputs_give_finite_values_and_gradients(kernel, name):
    x = torch.cat([inputs(2), torch.zeros(2, 5, dtype=torch.float64)]).requires_grad_()
    K = kernel(2, ACTIVATIONS[name])(x, x)
    (gradient,) = torch.autograd.grad(K.sum(), x)
    assert torch.isfinite(K).all() and torch.isfinite(gradient).all()
    if name in ("relu", "leaky", "abs", "erf", "sin", "identity", "tanh"):
        assert_equal(K[2:].detach(), torch.zeros(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("kernel", BOTH)
def test_gradients_are_finite_differences(kernel, name):
    x, y = inputs(2).requires_grad_(), inputs(1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel(2, ACTIVATIONS[name], 1.0, 0.3), (x, y), fast_mode=True)
    assert torch.autograd.gradcheck(kernel(2, ACTIVATIONS[name], 1.0, 0.3).diagonal, (x,), fast_mode=True)


@pytest.mark.parametrize("kernel", BOTH)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", ["relu", "leaky", "abs", "erf", "tanh"])
def test_the_gradient_at_parallel_inputs_is_the_central_difference(kernel, name, sign):
    # Θ of a kinked activation has a cusp there, |t| in every direction, which a central difference does not see.
    k, x, v = kernel(2, ACTIVATIONS[name], 1.0), inputs(1), inputs(1, seed=1)
    moved = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(k(moved, sign * x), moved)
    h = 1e-4
    difference = (k(x + h * v, sign * x) - k(x - h * v, sign * x)) / (2 * h)
    assert_close((gradient * v).sum(), difference.squeeze(), rtol=1e-6, scale=1.0)


def test_the_symmetric_call_has_the_gradient_of_both_arguments():
    x = inputs(4).requires_grad_()
    weight = inputs(4, 4, seed=2)
    (one,) = torch.autograd.grad((weight * NTK(2, Erf())(x)).sum(), x)
    (two,) = torch.autograd.grad((weight * NTK(2, Erf())(x, x)).sum(), x)
    y, z = x.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
    both = torch.autograd.grad((weight * NTK(2, Erf())(y, z)).sum(), (y, z))
    assert_close(one, two)
    assert_close(one, both[0] + both[1])


@pytest.mark.parametrize("kernel", BOTH)
def test_blocks_and_tiles_do_not_change_the_result(kernel, monkeypatch):
    x, y, k = inputs(23), inputs(17, seed=1), kernel(2, ReLU(), 1.0, 0.3)
    moved = x.clone().requires_grad_()
    whole = [k(x, y), k(x), *torch.autograd.grad(k(moved, y).sum(), moved)]
    monkeypatch.setattr(tiles, "TILE_ENTRIES_PER_THREAD", 10)
    monkeypatch.setattr(matrices, "SYMMETRIC_ROWS", 4)
    monkeypatch.setattr(matrices, "CHECKPOINT_ENTRIES", 40)
    in_blocks = [k(x, y), k(x), *torch.autograd.grad(k(moved, y).sum(), moved)]
    for value, expected in zip(in_blocks, whole, strict=True):
        assert_close(value, expected)


@pytest.mark.parametrize("kernel", BOTH)
@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin"])
def test_float32_agrees_with_float64(kernel, name):
    x, y, k = inputs(20, d=100), inputs(10, d=100, seed=1), kernel(3, ACTIVATIONS[name])
    value = k(x.float(), y.float())
    assert value.dtype == torch.float32
    assert_close(value, k(x, y), rtol=2e-6)


@pytest.mark.parametrize("kernel", BOTH)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_batches_and_single_samples(kernel, n, m):
    x, y, k = inputs(n), inputs(m, seed=1), kernel(2, ReLU())
    assert k(x, y).shape == (n, m) and k(x).shape == (n, n) and k.diagonal(x).shape == (n,)
    moved = x.clone().requires_grad_()
    k(moved, y).sum().backward()
    assert moved.grad is not None and moved.grad.shape == x.shape


def test_the_feature_kernel_of_an_untrained_pi_limit_tends_to_the_nngp():
    x, ranks, seeds = inputs(4, d=6), [2**k for k in range(5, 12)], range(12)
    limit = NNGP(1, ReLU(), sigma_w=1.0)(x)
    errors = []
    for rank in ranks:
        nets = [
            PiMLP(
                6,
                1,
                rank,
                depth=1,
                features=Atoms(),
                input_scale=rank**-0.5,
                bias_scale=0.0,
                generator=seeded(seed),
                dtype=torch.float64,
            )
            for seed in seeds
        ]
        errors.append(root_mean_square([float((net.feature_kernel(x, x).detach() - limit).norm()) for net in nets]))
    assert -0.6 < fitted_slope(ranks, errors) < -0.4


@pytest.mark.parametrize("kernel", BOTH)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(depth=0), r"(depth=...)` must be an integer ≥ 1; got 0"),
        (dict(sigma_w=-1.0), r"(sigma_w=...)` must be a finite number ≥ 0; got -1.0"),
        (dict(sigma_b=float("nan")), r"(sigma_b=...)` must be a finite number ≥ 0; got nan"),
    ],
)
def test_wrong_parameters_are_named(kernel, arguments, message):
    with pytest.raises(ValueError) as error:
        kernel(**dict(depth=1, activation=ReLU()) | arguments)
    assert str(error.value) == f"`{kernel.__name__}{message}"


def test_multipliers_must_be_one_for_each_layer():
    with pytest.raises(ValueError, match=r"`NTK\(weight_lr=...\)` must be 3 numbers, one for each of 2 hidden"):
        NTK(2, ReLU(), weight_lr=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"`NTK\(bias_lr=...\)` must be a finite number ≥ 0; got -1"):
        NTK(1, ReLU(), bias_lr=(1.0, -1.0))


NAN = torch.tensor([[1.0, float("nan")]])


@pytest.mark.parametrize("kernel", BOTH)
@pytest.mark.parametrize(
    ("x1", "x2", "message"),
    [
        (torch.ones(2, 3, 4), None, "(x1)` must be of shape (n, d) with d ≥ 1; got shape (2, 3, 4); flatten images"),
        (torch.ones(2, 0), None, "(x1)` must be of shape (n, d) with d ≥ 1; got shape (2, 0)"),
        (torch.ones(2, 3).long(), None, "(x1)` must be of a floating dtype; got torch.int64; use x.float()"),
        (NAN, None, "(x1)` must be finite; got 1 NaN or infinite of 2 entries"),
        (torch.ones(1, 2), NAN, "(x2)` must be finite; got 1 NaN or infinite of 2 entries"),
        (torch.ones(2, 3), torch.ones(2, 4), "(x2)` must be of shape (m, 3), as wide as x1; got shape (2, 4)"),
        (
            torch.ones(2, 3),
            torch.ones(2, 3).double(),
            "(x2)` must be of x1's dtype and device, torch.float32 on cpu; got torch.float64 on cpu; use x2.to(x1)",
        ),
    ],
)
def test_wrong_inputs_are_named(kernel, x1, x2, message, unchecked):
    with pytest.raises(ValueError) as error:
        kernel(1, ReLU())(x1, x2)
    assert str(error.value).startswith(f"`{kernel.__name__}{message}")
