"""Convolutional, residual and attention networks: the finite networks are those of the textbook, and have the limit."""

import pytest
import torch

import mupi
from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import Atoms, Erf, Hermite, Patches, PiCNN, PiResNet, PiTransformer, Polynomial, RandomFeatures, ReLU, Tokens
from oracles.finite_architectures import literal

QUADRATIC = Polynomial((-0.3, 0.5, 0.3))
SHAPE, TINY = (2, 4, 4), (2, 2, 2)
RATES = dict(first=0.5, last=2.0, bias=0.5)


def options(features, activation, seed=0):
    """What all networks share."""
    scales = dict(readout_std=0.5, bias_scale=0.5)
    return dict(features=features, activation=activation, generator=seeded(seed), dtype=torch.float64) | scales


def cnn(features, activation=QUADRATIC, seed=0):
    shape = dict(pools=(2, 1), input_kernel=3, input_stride=1)
    return PiCNN(SHAPE, 2, 3, **shape, **options(features, activation, seed))


def unnormalized_cnn(features, activation=QUADRATIC, seed=0):
    shape = dict(pools=(1, 2), input_kernel=1, input_stride=1, input_scale=0.5, normalized=False)
    return PiCNN(SHAPE, 2, 3, **shape, **options(features, activation, seed))


def resnet(features, activation=QUADRATIC, seed=0):
    shape = dict(blocks=(1, 2), input_kernel=3, input_stride=1)
    return PiResNet(SHAPE, 2, 3, **shape, **options(features, activation, seed))


def transformer(features, activation=QUADRATIC, seed=0):
    return PiTransformer(Patches(SHAPE, 2), 2, 4, 2, heads=2, **options(features, activation, seed))


def text_transformer(features, activation=QUADRATIC, seed=0):
    return PiTransformer(Tokens(5, 6), 2, 4, 2, heads=2, **options(features, activation, seed))


def tiny_cnn(features, activation):
    shape = dict(pools=(1, 2), input_kernel=1, input_stride=1)
    return PiCNN(TINY, 2, 3, **shape, **options(features, activation, 1))


def tiny_resnet(features, activation):
    shape = dict(blocks=(1, 1), input_kernel=1, input_stride=1)
    return PiResNet(TINY, 2, 2, **shape, **options(features, activation))


def tiny_transformer(features, activation):
    return PiTransformer(Patches(TINY, 1), 2, 2, 1, heads=1, **options(features, activation))


TINY_NETWORKS = [tiny_cnn, tiny_resnet, tiny_transformer]
IMAGE_NETWORKS = [cnn, resnet, transformer]
NETWORKS = [*IMAGE_NETWORKS, unnormalized_cnn, text_transformer]


def batch(net, step):
    """Inputs of the kind a network takes, and targets of the shape of its outputs."""
    causal = getattr(net, "causal", False)
    x = torch.randint(5, (3, 6), generator=seeded(step)) if causal else randn(3, *image_shape(net), seed=step)
    return x, randn(3, 6, 2, seed=100 + step) if causal else randn(3, 2, seed=100 + step)


def image_shape(net):
    """Channels, height and width."""
    return net.image_shape if hasattr(net, "image_shape") else net.tokens.image_shape


def train(net, steps, lr=0.1):
    """Clipped, with momentum and decay, on fixed batches; returns the outputs on held-out inputs after each step."""
    optimizer = mupi.SGD(
        net.parameter_groups(lr=lr, weight_decay=0.01, **RATES), clip=0.5, clip_jointly=True, momentum=0.5
    )
    held, _ = batch(net, 50)
    outputs = [net(held).detach()]
    for step in range(steps):
        x, y = batch(net, step)
        (net(x) - y).square().sum(-1).mean().backward()
        optimizer.step()
        outputs.append(net(held).detach())
    return torch.stack(outputs)


@pytest.mark.parametrize("network", IMAGE_NETWORKS)
@pytest.mark.parametrize("activation", [QUADRATIC, ReLU()], ids=["quadratic", "relu"])
def test_random_features_are_the_finite_network_with_full_matrices_and_projected_gradients(network, activation):
    net = network(RandomFeatures(11), activation)
    finite = literal(net, seeded(7))
    expected, (held, _) = train(net, 4), batch(net, 50)
    outputs = [finite(held).detach()]
    for step in range(4):
        x, y = batch(net, step)
        finite.step(
            lambda f, x=x, y=y: (f(x) - y).square().sum(-1).mean(),
            dict(hidden=1.0, **RATES), lr=0.1, clip=0.5, decay=0.01, momentum=0.5,
        )  # fmt: skip
        outputs.append(finite(held).detach())
    assert (expected[-1] - expected[0]).norm() > 0.05 * expected[0].norm(), "the function has moved"
    assert_close(torch.stack(outputs), expected, rtol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("degree", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_polynomial_activation_makes_constant_memory_exact(network, degree):
    activation = Polynomial((-0.3, 0.5, 0.3, 0.2)[: degree + 1])
    exact, hermite = (train(network(features, activation), 6) for features in (Atoms(), Hermite(degree)))
    assert (exact[-1] - exact[0]).norm() > 0.05 * exact[0].norm(), "the function has moved"
    assert_close(hermite, exact, rtol=1e-10)


@pytest.mark.parametrize("network", IMAGE_NETWORKS)
def test_hermite_agrees_with_atoms_to_its_stated_error(network):
    nets = [network(features, ReLU()) for features in (Atoms(), Hermite(2), Hermite(4))]
    exact, *near = (train(net, 5) for net in nets)
    errors = []
    for net, outputs in zip(nets[1:], near, strict=True):
        errors.append(float((outputs[-1] - exact[-1]).norm() / exact[-1].norm()))
        stated = net.error_report(batch(net, 50)[0])
        # Through several layers and steps the errors of all of them add.
        assert errors[-1] < sum(e.output + e.gradient for e in stated)
    assert 0 < errors[1] < errors[0], "two more degrees are nearer"


@pytest.mark.parametrize(
    ("network", "widths", "draws"),
    [
        (tiny_cnn, (128, 512, 2048), 24),
        (tiny_resnet, (128, 512, 2048), 12),
        (tiny_transformer, (128, 512, 2048), 12),
        *(pytest.param(net, (256, 1024, 4096), 96, marks=pytest.mark.slow) for net in TINY_NETWORKS),
    ],
)
def test_finite_networks_approach_the_limit_at_each_step_of_training(network, widths, draws):
    steps, gentle = 2, Erf()
    start = network(Atoms(), gentle)
    limit = train(network(Atoms(), gentle), steps)

    def gap(width, draw):
        """One entry a step."""
        return (train(start.sample(width, seeded(1000 + draw)), steps) - limit).flatten(1).norm(dim=1)

    gaps = torch.stack([torch.stack([gap(n, draw) for draw in range(draws)]) for n in widths])
    for step in range(steps + 1):
        # Geometric means: where a finite g happens to be small, g/|g| is far off.
        errors = gaps[:, :, step].log().mean(1).exp().tolist()
        assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.12), f"after {step} steps"


@pytest.mark.slow
@pytest.mark.parametrize("network", [cnn, resnet, transformer])
@pytest.mark.parametrize("features", [Atoms(), Hermite(2)], ids=["atoms", "hermite"])
def test_samples_of_a_trained_network_approach_it(network, features):
    net = network(features, ReLU())
    train(net, 4)
    x, _ = batch(net, 60)
    output = net.eval()(x).detach()
    draws = range(12)

    def gap(width):
        return root_mean_square(
            [float((net.sample(width, seeded(draw))(x) - output).detach().norm() / output.norm()) for draw in draws]
        )

    widths = (64, 512, 4096)
    errors = [gap(n) for n in widths]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.12)
