"""Tensor Programs run at finite width converge to their limits at the rate 1/√width; so does training to `MuLimit`."""

import pytest
import torch

import mupi
from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import MLP, Atoms, MuLimit, Parametrization, PiMLP, Program, ReLU
from mupi.experiments.limits.program import ProgramConfig, converge
from mupi.programs import apply, mean
from mupi.programs.demos import DEMOS
from mupi.programs.mu_limit import squared_distance


@pytest.mark.parametrize("name", DEMOS)
def test_averages_converge_at_the_rate_of_a_square_root_without_a_plateau(name):
    # Thirteen programs, nine of them with Ż ≠ 0.
    result = converge(name, ProgramConfig(widths=(32, 96, 288), draws=24, samples=2000, seed=2))
    # The fitted slope varies by about 0.1 from one set of draws to another.
    assert result.slope == pytest.approx(-0.5, abs=0.25)
    # At the largest width the mean over runs is the limit, up to its standard error and a bias O(1/n).
    for mean_there, limit in zip(result.means[-1], result.limit, strict=True):
        size = max(1.0, abs(limit))
        assert abs(mean_there - limit) < 4 * (result.gaps[-1] / 24**0.5 + result.limit_error) + 3 * size / 288


def train(net, x, y, steps, lr, centred):
    """The outputs of every step; those of the start are taken off in the kernel regime."""
    start = net(x).detach() if centred else 0.0
    optimizer, outputs = mupi.SGD(net.parameter_groups(lr), momentum=0.3), []
    for _ in range(steps):
        f = net(x) - start
        outputs.append(f.detach())
        squared_distance(f, y).backward()
        optimizer.step()
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("depth", "activation", "p"),
    [
        (1, mupi.Erf(), Parametrization.mup(1)),
        (2, mupi.Tanh(), Parametrization.mup(2)),
        (3, mupi.GELU(), Parametrization.mup(3)),
        (2, mupi.Tanh(), Parametrization.ntk(2)),
    ],
    ids=["erf-1", "tanh-2", "gelu-3", "tanh-2-ntk"],
)
def test_training_converges_to_the_limit_of_training(depth, activation, p):
    x, y, lr = randn(5, 3), randn(5, 1, seed=1), 0.3
    limit = MuLimit(depth, activation, p, lr=lr, momentum=0.3, sigma_w=1.2, samples=1200, replicates=3,
                    generator=seeded()).fit(x, y, 5)  # fmt: skip
    widths, draws = [32, 96, 288], 6

    def gap(n, seed):
        net = MLP(3, 1, n, depth, parametrization=p, activation=activation, sigma_w=1.2, generator=seeded(seed),
                  dtype=torch.float64)  # fmt: skip
        return float((train(net, x, y, 5, lr, p.kernel_regime) - limit.outputs).square().mean().sqrt())

    errors = [root_mean_square([gap(n, 100 * n + k) for k in range(draws)]) for n in widths]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.2)
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
