"""Finite π-nets converge to the π-limit at the rate 1/√width, before, during and after training."""

import pytest
import torch

import mupi
from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import Atoms, Erf, Hermite, PiMLP, ReLU

STEPS = 20


def network(rank, activation, features, depth=2):
    """A network before training; with equal arguments the same one."""
    return PiMLP(
        3, 2, rank, depth, features=features, activation=activation, readout_std=0.5, output_scale=1.0,
        generator=seeded(), dtype=torch.float64,
    )  # fmt: skip


def train(net):
    """Train on fixed batches; returns the loss of each step."""
    groups = net.parameter_groups(lr=0.3, first=0.5, last=2.0, bias=0.5, weight_decay=0.01)
    optimizer, losses = mupi.SGD(groups, clip=0.5, momentum=0.3), []
    for step in range(STEPS):
        x, y = randn(4, 3, seed=step), randn(4, 2, seed=100 + step)
        loss = ((net(x) - y) ** 2).sum(1).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def rate(error, widths, draws):
    """The exponent of the root mean square over draws of Ω of ``error(width, generator)``."""
    errors = [root_mean_square([error(n, seeded(1000 + draw)) for draw in range(draws)]) for n in widths]
    return fitted_slope(widths, errors)


@pytest.mark.parametrize(
    ("rank", "activation", "widths", "draws"),
    [(2, ReLU(), (32, 128, 512), 20), (2, Erf(), (32, 128, 512), 20), (16, ReLU(), (256, 1024, 4096), 8)],
    ids=["relu-rank2", "erf-rank2", "relu-rank16"],
)
def test_loss_curves_of_sampled_nets_approach_that_of_the_limit(rank, activation, widths, draws):
    start = network(rank, activation, Atoms())
    limit = train(network(rank, activation, Atoms()))

    def gap(width, generator):
        return float((train(start.sample(width, generator)) - limit).square().mean().sqrt())

    # The fitted slope varies by 0.03 from one set of draws to another.
    assert rate(gap, widths, draws) == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(
    ("features", "activation"),
    [(Atoms(), ReLU()), (Hermite(2), ReLU()), (Hermite(4, subspace=2), ReLU()), (Hermite(3, subspace=2), Erf())],
    ids=str,
)
def test_samples_of_a_trained_net_approach_it(features, activation):
    net = network(5, activation, features)
    train(net)
    x = randn(10, 3, seed=7)
    output = net.eval()(x).detach()
    hidden = net.hidden(x)[-1].detach()

    def gap(width, generator):
        sample = net.sample(width, generator)
        return float((sample(x) - output).detach().norm() / output.norm())

    assert rate(gap, (32, 256, 2048), 30) == pytest.approx(-0.5, abs=0.1)
    assert_close(net.sample(2**17, seeded())(x), output, rtol=0.05)
    assert_close(net.sample(2**17, seeded()).hidden(x)[-1], hidden, rtol=0.05)


def test_the_feature_kernel_of_samples_approaches_that_of_the_limit():
    net = network(5, ReLU(), Atoms())
    train(net)
    x1, x2 = randn(4, 3, seed=7), randn(6, 3, seed=8)
    exact = net.feature_kernel(x1, x2).detach()

    def gap(width, generator):
        return float((net.sample(width, generator).feature_kernel(x1, x2) - exact).detach().norm() / exact.norm())

    assert rate(gap, (32, 256, 2048), 30) == pytest.approx(-0.5, abs=0.1)


def test_a_sample_of_hermite_is_the_projection_of_that_of_the_atoms():
    # Both weights at one z: w(z) of `Hermite(2)` is that of the atoms without degrees above 2.
    φ = mupi.Polynomial((0.2, 1.0, 0.3))
    exact, matrix = (network(4, φ, features).readout.weight for features in (Atoms(), Hermite(2)))
    z = randn(9, 4)
    assert_close(matrix.at_neurons(z), exact.at_neurons(z), rtol=1e-11)


def test_wider_nets_do_not_need_other_learning_rates():
    # With rates that scale with width the gap would grow or stay; here 20 steps stay within a tenth of the loss.
    limit = train(network(2, ReLU(), Atoms()))
    wide = train(network(2, ReLU(), Atoms()).sample(2**14, seeded(5)))
    assert_close(wide, limit, rtol=0.01)
