"""The limit of a Gaussian matrix as an operator: transposes, covariances, nearly equal vectors, samples."""

import pytest
import torch

from assertions import assert_close, fitted_slope
from cases import randn, seeded
from mupi.programs import Program, gradients, mean, outer
from mupi.programs.demos import DEMOS
from mupi.programs.spaces import Samples


def samples(n=400, tolerance=1e-6):
    return Samples(n, seeded(), torch.float64, tolerance)


def test_w_and_its_transpose_are_adjoint_whatever_came_between():
    space = samples()
    W = space.matrix(1.3)
    x, y = torch.tanh(randn(400, 3)), torch.relu(randn(400, 2, seed=1))
    Wx = W @ x
    z = torch.tanh(W.T @ (y * Wx[:, :1]))
    V = W.plus_outer(y, x[:, :2]) * 0.7
    assert_close(space.inner(y, V @ z), space.inner(V.T @ y, z), rtol=1e-11)
    # Evaluated again, after more of W has been seen, a product is what it was.
    assert_close(W @ x, Wx, rtol=1e-11)


def test_the_gaussian_part_has_the_covariance_of_the_theorem():
    space = samples()
    x = torch.tanh(randn(400, 3))
    h = space.matrix(1.5) @ x
    assert_close(space.inner(h, h), 1.5**2 * space.inner(x, x), rtol=1e-12)
    assert_close(h.mean(0), torch.zeros(3, dtype=torch.float64), scale=1.0)


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_rectangular_matrices_are_the_limit_of_real_ones(ratio):
    """Forward, back, an update, and the gradient: vectors of n and of ρn coordinates."""
    σ, n = 1.2, 400
    p = Program()
    x, v, W = p.vector("x", 1.0, mean=0.5), p.vector("v"), p.matrix("W", σ, ratio)
    y = torch.tanh(W @ x)
    back = W.T @ (y + v)
    moved = W - 0.5 * outer(y * v, x)
    z = torch.tanh(moved @ (x + 0.3 * back))
    loss = (mean(z, v) + mean(moved.T @ z, x))[0, 0]
    steps, dx = gradients(loss, [W, x])
    along = sum(mean(v, step.d) * mean(step.x, x) for step in steps)  # vᵀ ∂loss/∂W x over its coordinates
    scalars = [mean(x, back), mean(back, back), mean(z, v), loss, mean(dx, dx), mean(dx, x), along]
    limit = p.limit(samples=20_000, generator=seeded())

    def network(seed):
        m = round(ratio * n)
        x = (randn(n, 1, seed=seed) + 0.5).requires_grad_()
        v, W = randn(m, 1, seed=seed + 100), (σ / n**0.5 * randn(m, n, seed=seed + 200)).requires_grad_()
        y = torch.tanh(W @ x)
        back = W.T @ (y + v)
        moved = W - 0.5 * (y * v) @ x.T / n
        z = torch.tanh(moved @ (x + 0.3 * back))
        loss = (z * v).sum() / m + (x * (moved.T @ z)).sum() / n
        g_W, g_x = torch.autograd.grad(loss, [W, x])
        dx = n * g_x
        found = [(x * back).sum() / n, back.square().sum() / n, (z * v).sum() / m, loss]
        found += [dx.square().sum() / n, (dx * x).sum() / n, (v * (g_W @ x)).sum() / m]
        return torch.stack(found).detach()

    runs = torch.stack([network(seed) for seed in range(40)])
    errors = runs.std(0) / 40**0.5
    exact = torch.stack([limit[s].reshape(()) for s in scalars])
    doubt = torch.stack([limit.error(s).reshape(()) for s in scalars])
    # Finite width has a bias of the order of 1/n beside its spread.
    assert ((runs.mean(0) - exact).abs() < 4 * (errors + doubt) + 6 * exact.abs() / n).all()


@pytest.mark.parametrize("distance", [0.0, 1e-14, 1e-9, 1e-5, 1e-2])
def test_nearly_equal_vectors_are_mapped_to_nearly_equal_ones(distance):
    space = samples()
    W, x, e = space.matrix(1.0), randn(400, 1), randn(400, 1, seed=1)
    first, second = W @ x, W @ torch.cat([x + distance * e, x], 1)
    assert_close(second[:, 1:], first, rtol=1e-12)
    moved = float((second[:, :1] - first).norm() / (distance * e).norm()) if distance > 1e-5 else None
    assert (second[:, :1] - first).norm() <= 1.3 * (distance + 1e-12) * e.norm()
    assert moved is None or moved == pytest.approx(1.0, abs=0.15)


def test_directions_that_were_met_cost_nothing():
    space = samples()
    W, x = space.matrix(1.0), randn(400, 5)
    for _ in range(4):
        W @ (x @ randn(5, 3, seed=_))
    assert (W.family.right.rank, W.family.left.rank) == (5, 0)


def test_a_step_of_sgd_is_a_rank_one_change():
    p = Program()
    W, x, y = p.matrix("W"), p.vector("x"), p.vector("y")
    changed = 0.5 * (W - 2.0 * outer(y, x)) + W
    h = W @ x
    moment = mean(y, changed @ x - 1.5 * h)
    back = mean(x, changed.T @ y - 1.5 * (W.T @ y))
    values = p.limit()
    assert values[moment].item() == pytest.approx(-1.0, abs=1e-12)
    assert values[back].item() == pytest.approx(-1.0, abs=1e-12)


def test_linear_programs_have_no_sampling_error():
    for name in ("marchenko-pastur", "semicircle", "free"):
        p = Program()
        shown = DEMOS[name].write(p)
        exact, sampled = p.limit(), p.limit(500, seeded())
        for s in shown.values():
            assert_close(sampled[s], exact[s], rtol=1e-9, scale=1.0)


@pytest.mark.parametrize("name", [name for name, demo in DEMOS.items() if demo.exact])
def test_samples_agree_with_closed_forms_within_their_standard_errors(name):
    p = Program()
    shown = DEMOS[name].write(p)
    exact, sampled = p.limit(), p.limit(800, seeded(), replicates=8)
    for s in shown.values():
        # Student's t with 7 degrees of freedom; beside it the bias, of the order of 1/samples.
        size = max(1.0, float(exact[s].abs().max()))
        assert ((sampled[s] - exact[s]).abs() <= 5.5 * sampled.error(s) + 0.01 * size).all()


def test_standard_errors_shrink_with_the_samples():
    p = Program()
    shown = DEMOS["autoencoder"].write(p)
    s = shown["E (x − rebuilt)²"]
    sizes = [200, 800, 3200]
    errors = [float(p.limit(n, seeded(n), replicates=24).error(s)) for n in sizes]
    assert fitted_slope(sizes, errors) == pytest.approx(-0.5, abs=0.25)


def test_float32_samples_suffice():
    p = Program()
    shown = DEMOS["autoencoder"].write(p)
    s = shown["E x rebuilt"]
    double, single = (p.limit(1000, seeded(), dtype=t, tolerance=1e-2)[s] for t in (torch.float64, torch.float32))
    assert single.dtype == torch.float32
    assert abs(float(single) - float(p.limit()[s])) < 0.05 and abs(float(double) - float(p.limit()[s])) < 0.05
