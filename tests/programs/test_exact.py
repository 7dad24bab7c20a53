"""Closed forms against the library's own dual activations and kernels, and against moments that are known."""

import math

import pytest
import torch

import mupi
from assertions import assert_close
from cases import ACTIVATIONS, randn
from mupi.programs import Program, apply, mean
from mupi.programs.demos import DEMOS
from mupi.programs.pairings import wick
from mupi.programs.slopes import slope


@pytest.mark.parametrize("name", ["relu", "leaky", "abs", "erf", "gelu", "sin", "polynomial", "tanh"])
def test_a_moment_of_two_gaussians_is_the_dual_activation(name):
    φ = ACTIVATIONS[name]
    p = Program()
    x = p.vector("x", [[1.3, 0.4], [0.4, 0.7]])
    z = apply(φ, x, name="φ")
    moments, slopes = mean(z, z), mean(apply(slope(φ), x), apply(slope(φ), x))
    values = p.limit()
    pair = [torch.tensor(v, dtype=torch.float64) for v in (1.3, 0.4, 0.7)]
    assert_close(values[moments][0, 1], φ.dual(*pair), rtol=1e-12)
    assert_close(values[slopes][0, 1], φ.dual_11(*pair), rtol=1e-12)
    assert float(values.error(moments).max()) < 1e-10


@pytest.mark.parametrize("activation", [mupi.ReLU(), mupi.Erf()], ids=str)
def test_forward_and_backward_give_the_nngp_and_the_tangent_kernel(activation):
    σ, depth = 1.2, 2
    inputs = randn(2, 5)
    p = Program()
    h = [p.vector("h1", σ**2 * inputs @ inputs.T / 5)]
    W = [p.matrix(f"W{layer}", σ) for layer in range(2, depth + 1)]
    for w in W:
        h.append(w @ apply(activation, h[-1]))
    z = [apply(activation, v) for v in h]
    nngp = σ**2 * mean(z[-1], z[-1])
    back = σ * p.vector("v") @ torch.ones(1, 2)
    kernel = nngp
    for layer in reversed(range(depth)):
        d = back * apply(slope(activation), h[layer])
        below = σ**2 * (mean(z[layer - 1], z[layer - 1]) if layer else inputs @ inputs.T / 5)
        kernel = kernel + mean(d, d) * below
        back = W[layer - 1].T @ d if layer else back
    values = p.limit()
    assert_close(values[nngp], mupi.NNGP(depth, activation, σ)(inputs), rtol=1e-11)
    assert_close(values[kernel], mupi.NTK(depth, activation, σ)(inputs), rtol=1e-10)


def known(name):
    p = Program()
    shown = DEMOS[name].write(p)
    values = p.limit()
    return [values[s].item() for s in shown.values()]


def test_products_of_a_matrix_and_its_transpose_have_the_moments_of_marchenko_and_pastur():
    assert known("marchenko-pastur") == pytest.approx([1, 2, 5, 14], abs=1e-11)


def test_a_symmetric_matrix_has_the_moments_of_the_semicircle():
    assert known("semicircle") == pytest.approx([0, 1, 0, 2, 0, 5], abs=1e-11)


def test_independent_matrices_are_free():
    # With commuting ones the first would be E A² E B² = 1.
    assert known("free") == pytest.approx([0, 1], abs=1e-11)


def test_dropping_the_correction_gives_a_wrong_gradient():
    # E x Wᵀ(Wx + 1) = 1, and E |·|² = 1·(1 + 1) + 1; an independent copy of W in the backward pass loses the ones.
    assert known("dependence") == pytest.approx([1, 0, 3, 2], abs=1e-12)


def test_message_passing_is_gaussian_after_its_onsager_term():
    dot, square, variance = known("message-passing")
    assert dot == pytest.approx(0, abs=1e-12)
    assert square == pytest.approx(variance, rel=1e-10)


def test_wick_counts_pairings():
    z = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert [wick([z] * k) for k in range(7)] == [1, 0, 1, 0, 3, 0, 15]
    assert wick([z, z, z + 1, z + 1]) == pytest.approx(5.0 + 2 * 4.0)


def test_scalars_can_enter_nonlinearities():
    p = Program()
    x = p.vector("x", 4.0, mean=1.0)
    μ = mean(x)
    normal = (x - μ) / torch.sqrt(mean(x, x) - μ**2)
    s = mean(normal, torch.relu(normal))
    assert p.limit()[s].item() == pytest.approx(0.5, rel=1e-12)


def test_functions_of_independent_families_are_taken_apart():
    # Four dimensions, two at a time: E φ(h)φ(h') φ(u)φ(u') with h and u of two matrices.
    p = Program()
    x = p.vector("x", [[1.0, 0.3], [0.3, 2.0]])
    h, u = torch.tanh(p.matrix("W") @ x), torch.relu(p.matrix("V") @ x)
    joint = mean(h[0] * u[0], h[1] * u[1])
    one, other = mean(h, h), mean(u, u)
    values = p.limit()
    assert values[joint].item() == pytest.approx(float(values[one][0, 1] * values[other][0, 1]), rel=1e-12)


def test_a_polynomial_needs_no_quadrature_in_any_dimension():
    p = Program()
    x = p.vector("x", torch.eye(4) + 0.5)
    s = mean(x[0] * x[1], x[2] * x[3])
    values = p.limit()
    assert values[s].item() == pytest.approx(3 * 0.25, rel=1e-12)
    assert float(values.error(s)) == 0


def test_functions_that_know_tensors_only_have_closed_forms_too():
    p = Program()
    x = p.vector("x", 2.0)
    by_autograd = apply(torch.func.grad(lambda v: torch.relu(v).square().sum() / 2), x)
    by_choice = apply(lambda v: torch.where(v > 0, v, 0.0), x)
    s, t = mean(by_autograd, by_autograd), mean(by_choice, by_choice)
    values = p.limit()
    assert [values[s].item(), values[t].item()] == pytest.approx([1.0, 1.0])


def test_three_dimensions_are_refused_by_the_line():
    p = Program()
    a, b, c = p.vector("x", torch.eye(3))
    s = mean(torch.tanh(a + b), torch.tanh(b * c))
    with pytest.raises(ValueError, match=r"line 9: s9 = mean.*at most two Gaussian dimensions; got functions of 3"):
        p.limit()
    generator = torch.Generator().manual_seed(0)
    values = p.limit(20000, generator)
    assert abs(values[s].item()) < 4 * values.error(s).item()


def test_a_constant_function_between_a_matrix_and_its_transpose():
    p = Program()
    W, x = p.matrix("W"), p.vector("x")
    two = apply(lambda h: torch.full_like(h, 2.0), W @ x)
    back = W.T @ two
    square, dot = mean(back, back), mean(x, back)
    values = p.limit()
    assert [values[square].item(), values[dot].item()] == pytest.approx([4.0, 0.0], abs=1e-12)


def test_errors_go_where_moments_go():
    p = Program()
    x = p.vector("x")
    s = mean(torch.relu(x - 0.7))
    large, root = 1e9 * s, torch.sqrt(s - s)
    values = p.limit()
    assert 1e8 * values.error(s).item() < values.error(large).item() < 1e-2
    assert values.error(root).item() == float("inf") or values.error(root).item() >= 0
    with pytest.raises(ValueError, match="values.error"):
        p.run(8).error(s)


def test_small_vectors_are_as_dependent_as_large_ones():
    p = Program()
    x = p.vector("x", 1e-14)
    z = torch.tanh(1e7 * x)
    other = torch.tanh(1e7 * x + 0.0 * x)
    s, t = mean(torch.relu(x), torch.relu(x)), mean(z, other)
    values = p.limit()
    assert values[s].item() == pytest.approx(0.5e-14, rel=1e-12)
    assert values[t].item() == pytest.approx(0.394294, abs=1e-6)


def test_high_powers_are_counted_and_not_listed():
    p = Program()
    x = p.vector("x")
    s = mean(x**10, x**10)
    assert p.limit()[s].item() == pytest.approx(654729075.0)  # 19!!


def test_the_limit_is_explained_line_by_line():
    p = Program()
    W, x = p.matrix("W"), p.vector("x")
    y = torch.tanh(W @ x).named("y")
    mean(x, W.T @ y)
    text = p.explain()
    slope_at_0 = 0.6057055096
    assert "Ż = 0.6057 x   (E ∂y/∂Wx = 0.6057)" in text
    assert "Var Z = 0.7612" in text and f"→ {slope_at_0:.4g}" in text
    expected = math.fsum([slope_at_0**2, 0.394294])  # Ż² + Ẑ²
    assert expected == pytest.approx(0.7612, abs=1e-4)
