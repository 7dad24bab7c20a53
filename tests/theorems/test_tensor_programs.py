"""Tensor Programs run at finite width converge to their limits at the rate 1/√width; so does training to `MuLimit`."""

import pytest
import torch

import mupi
from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import MLP, Atoms, MuLimit, Parametrization, PiMLP, Program, ReLU
from mupi.commands.tensor_program import ProgramConfig, converge
from mupi.mu.losses import squared_distance
from mupi.programs import apply, mean
from mupi.programs.demos import DEMOS

HIGH_MOMENTS = ("marchenko-pastur", "semicircle", "free", "message-passing")
"""Next to c/√n the gaps of these have terms of 1/n, which move a slope by up to .09 at the widths of quick tests."""

BIASED = ("semicircle", "marchenko-pastur", "free", "message-passing", "sgd")
"""Programs whose means at width n are off the limit by O(1/n), clearly so at small widths."""


def assert_rate_of_a_square_root(name, widths, draws):
    result = converge(name, ProgramConfig(widths=widths, draws=draws, samples=4096))
    assert result.slope[0] == pytest.approx(-0.5, abs=0.15)
    # At the largest width the mean over runs is the limit, up to its standard error and a bias O(1/n).
    for mean_there, error, limit in zip(result.means[-1], result.mean_errors[-1], result.limit, strict=True):
        assert abs(mean_there - limit) < 4 * error + 3 * max(1.0, abs(limit)) / widths[-1]


@pytest.mark.parametrize("name", [name for name in DEMOS if name not in HIGH_MOMENTS])
def test_averages_converge_at_the_rate_of_a_square_root_without_a_plateau(name):
    # The slope's standard deviation over sets of 128 draws, by bootstrap from 1,024: .021 (forward) to .044
    # (dependence); its mean −.49 to −.53.
    assert_rate_of_a_square_root(name, (32, 96, 288), 128)


@pytest.mark.slow
@pytest.mark.parametrize("name", HIGH_MOMENTS)
def test_high_moments_converge_at_the_rate_of_a_square_root_without_a_plateau(name):
    # At widths 32, 96, 288 the standard deviation is .06 at 128 draws and .04 at 300, the mean −.53 to −.59; at these
    # widths −.55 for the semicircle, which is the farthest off.
    assert_rate_of_a_square_root(name, (64, 192, 576), 300)


@pytest.mark.parametrize("n", [4, 16])
@pytest.mark.parametrize("name", ["semicircle", "marchenko-pastur"])
def test_means_of_random_matrices_are_off_the_limit_by_the_terms_of_the_exact_expansion(name, n):
    # E tr Aᵏ/n of the Gaussian orthogonal and Wishart ensembles, k = 1, 2, …: what is beyond the limit is O(1/n).
    expected = {
        "semicircle": [0, 1 + 1 / n, 0, 2 + 5 / n + 5 / n**2, 0, 5 + 22 / n + 52 / n**2 + 41 / n**3],
        "marchenko-pastur": [1, 2 + 1 / n, 5 + 6 / n + 4 / n**2],
    }[name]
    p, generator = Program(), seeded()
    shown = list(DEMOS[name].write(p).values())[: len(expected)]
    runs = [p.run(n, generator) for _ in range(800)]
    moments = torch.tensor([[run[s].item() for s in shown] for run in runs])
    errors = moments.std(0) / len(runs) ** 0.5
    assert ((moments.mean(0) - torch.tensor(expected)).abs() < 4 * errors).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", BIASED)
def test_means_converge_at_the_rate_of_the_width(name):
    result = converge(name, ProgramConfig(widths=(16, 32, 64, 128), draws=4000, samples=65536))
    assert result.mean_slope is not None
    slope, error = result.mean_slope
    assert abs(slope + 1) < 3 * error + 0.15  # beside the error, a bias c/n + c'/n²


def train(net, x, y, steps, lr, weight_decay, centered):
    """The outputs of every step; those of the start are taken off in the kernel regime."""
    start = net(x).detach() if centered else 0.0
    optimizer, outputs = mupi.SGD(net.parameter_groups(lr, weight_decay=weight_decay), momentum=0.3), []
    for _ in range(steps):
        f = net(x) - start
        outputs.append(f.detach())
        squared_distance(f, y).backward()
        optimizer.step()
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("depth", "activation", "p", "weight_decay"),
    [
        (1, mupi.Erf(), Parametrization.mup(1), 0.0),
        (2, mupi.Tanh(), Parametrization.mup(2), 0.0),
        (2, mupi.ReLU(), Parametrization.mup(2), 0.2),
        (3, mupi.GELU(), Parametrization.mup(3), 0.0),
        (2, mupi.Tanh(), Parametrization.ntk(2), 0.0),
    ],
    ids=["erf-1", "tanh-2", "relu-2-decay", "gelu-3", "tanh-2-ntk"],
)
def test_training_converges_to_the_limit_of_training(depth, activation, p, weight_decay):
    x, y, lr = randn(5, 3), randn(5, 1, seed=1), 0.3
    limit = MuLimit(depth, activation, p, lr=lr, momentum=0.3, weight_decay=weight_decay, sigma_w=1.2, samples=1200,
                    replicates=3, generator=seeded()).fit(x, y, 5)  # fmt: skip
    # The slope's standard deviation over sets of 48 networks a width: .031, .031, .041, .042 and .044 (in order).
    widths, draws = [32, 96, 288], 48

    def gap(n, seed):
        net = MLP(3, 1, n, depth, parametrization=p, activation=activation, sigma_w=1.2, generator=seeded(seed),
                  dtype=torch.float64)  # fmt: skip
        outputs = train(net, x, y, 5, lr, weight_decay, p.kernel_regime)
        return float((outputs - limit.outputs).square().mean().sqrt())

    errors = [root_mean_square([gap(n, 100 * n + k) for k in range(draws)]) for n in widths]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.15)
    assert float(limit.output_errors.square().mean().sqrt()) < errors[-1] / 2


def test_one_step_of_the_pi_limit_is_the_limit_of_projected_sgd():
    # Hidden coordinates h¹ = Ω¹g¹ and h² = Ω²A φ(Ω¹Bᵀ)ᵀφ(h¹)/n; the gradient of W² is projected on the span of Ω².
    r, η = 2, 0.7
    net = PiMLP(3, 1, r, 2, features=Atoms(), activation=ReLU(), bias_scale=0.0, readout_std=0.8, generator=seeded(),
                dtype=torch.float64)  # fmt: skip
    x = randn(1, 3)
    g1, g2 = (g.detach() for g in net.hidden(x))
    middle, readout = (layer.weight.expansion() for layer in net.layers)
    scale_1, scale_2 = (layer.scale for layer in net.layers)
    net(x).sum().backward()
    for layer in (net.input, net.layers[1]):
        for parameter in layer.parameters():
            parameter.grad = None
    mupi.SGD(net.parameters(), lr=η).step()

    p = Program()
    first, second = p.vector("Ω1", torch.eye(r)), p.vector("Ω2", torch.eye(r))
    φ = torch.relu
    z1, atoms = φ(first @ g1.T), φ(first @ middle.b.T)
    A = (scale_1 * middle.c[:, None] * middle.a).T
    g = A @ mean(atoms, z1)  # g² as a column
    h2 = second @ g
    v = φ(second @ readout.b.T) @ (scale_2 * readout.c[:, None] * readout.a)
    δ = v * torch.heaviside(h2, torch.tensor(0.5, dtype=torch.float64))
    projected = apply(lambda gram, dot: torch.linalg.solve(gram, dot), mean(second, second), mean(second, δ))
    stepped = g - η * scale_1**2 * projected * mean(z1, z1)
    values = p.limit()
    assert_close(values[g].T, g2, rtol=1e-10)
    assert_close(values[stepped].T, net.hidden(x)[1].detach(), rtol=1e-10)
