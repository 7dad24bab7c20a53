"""π-nets of descriptions are the textbook's networks with all n × n matrices, step for step, and have the limit."""

import pytest
import torch

import mupi
from assertions import assert_close, fitted_slope
from cases import randn, seeded
from mupi import Atoms, Erf, Hermite, Polynomial, RandomFeatures, ReLU
from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Conv,
    Dense,
    Embed,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Permute,
    Reshape,
    Select,
    Table,
    Width,
    chain,
    describe,
    named,
    residual,
)
from oracles.textbook_networks import Convolutions, Gated, Residual, Vision

n = Width()
RATES = dict(first=0.5, last=2.0, bias=0.5)
QUADRATIC = Polynomial((-0.3, 0.5, 0.3))
CHANNELS_LAST = Permute((1, 2, 0))


def convolutions(φ):
    """Kernels of two sides, strides, paddings of both kinds, averages of pairs, and weights for each position."""
    return describe(
        (2, 5, 6),
        chain(
            CHANNELS_LAST,
            named("a", Conv(n, (2, 3), (2, 1), (1, 0))),
            φ,
            named("b", Conv(2 * n, (3, 1), (1, 2), (1, 0), "circular")),
            φ,
            AveragePool((1, 2)),
            named("c", Conv(n, (2, 1))),
            φ,
            Flatten(),
            named("out", Dense(2)),
        ),
    )


def resnet(φ):
    """Pre-activation, with a strided projection on the way around the first block, and gains and shifts."""

    def block(x):
        branch = chain(
            named("norm1", Normalize(subtract=False, eps=0.1, gain=True, shift=True)),
            φ,
            named("conv1", Conv(n, (3, 3), (2, 2), (1, 1))),
            Normalize(subtract=False),
            φ,
            named("conv2", Conv(n, (3, 3), padding=(1, 1))),
        )(x)
        return Add()(Conv(n, (1, 1), (2, 2), bias=False)(x, name="around"), branch)

    second = residual(Normalize(), φ, named("conv3", Conv(n, (3, 3), padding=(1, 1))), scale=0.5)
    stem = named("stem", Conv(n, (3, 3), padding=(1, 1)))
    readout = chain(Normalize(), φ, AveragePool(), named("out", Dense(2)))
    return describe((2, 4, 4), chain(CHANNELS_LAST, stem, block, second, readout))


def transformer_block(x, φ, *, causal, gated):
    """Attention, then a perceptron, gated or not, of a stream."""

    def attend(h):
        q, k, v = (Dense(n, False)(h, name=f"block.{part}") for part in ("query", "key", "value"))
        return Dense(n, False)(Attention(2, causal)(q, k, v), name="block.out")

    def perceive(h):
        up = Activate(φ)(Dense(2 * n)(h, name="block.up"))
        if gated:
            up = Multiply()(up, Dense(2 * n)(h, name="block.gate"))
        return Dense(n)(up, name="block.down")

    return chain(residual(Normalize(), attend, scale=0.7), residual(Normalize(), perceive))(x)


def vision(φ):
    """A class token before the patches, which alone is read out."""

    def embed(x):
        patches = chain(CHANNELS_LAST, named("patches", Conv(n, (2, 2), (2, 2))), Reshape((4,)))(x)
        tokens = Join()(Table((1,), n)(x, name="token"), patches)
        return Add()(tokens, Table((5,), n)(x, name="positions"))

    def block(x):
        return transformer_block(x, φ, causal=False, gated=False)

    return describe((2, 4, 4), chain(embed, block, Normalize(), Select(0), φ, named("out", Dense(2))))


def gated(φ):
    """A language model with a SwiGLU block, whose logits read the stream itself."""

    def embed(x):
        return Add()(Embed(5, n)(x, name="tokens"), Table((6,), n)(x, name="positions"))

    def block(x):
        return transformer_block(x, φ, causal=True, gated=True)

    return describe((6,), chain(embed, block, Normalize(), named("out", Dense(2, False))), integers=True)


NETWORKS = {convolutions: Convolutions, resnet: Residual, vision: Vision, gated: Gated}


def build(network, features, φ=QUADRATIC, rank=4, seed=0):
    scales = dict(input_scale=0.7, output_scale=0.8, bias_scale=0.6, readout_std=0.5)
    return network(φ).pi(rank, features, **scales, generator=seeded(seed), dtype=torch.float64)


def batch(net, step):
    axes = net.network.input.axes
    if net.network.input.integers:
        return torch.randint(5, (3, *axes), generator=seeded(step)), randn(3, *axes, 2, seed=100 + step)
    return randn(3, *axes, seed=step), randn(3, 2, seed=100 + step)


def train(net, steps, lr=0.1):
    """Clipped, with momentum and decay; the outputs on held-out inputs after each step."""
    groups = net.parameter_groups(lr=lr, weight_decay=0.01, **RATES)
    optimizer = mupi.SGD(groups, clip=0.5, clip_jointly=True, momentum=0.5)
    held, _ = batch(net, 50)
    outputs = [net(held).detach()]
    for step in range(steps):
        x, y = batch(net, step)
        (net(x) - y).square().sum(-1).mean().backward()
        optimizer.step()
        outputs.append(net(held).detach())
    return torch.stack(outputs)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("φ", [QUADRATIC, ReLU()], ids=["quadratic", "relu"])
def test_random_features_are_the_textbook_network_with_projected_gradients(network, φ):
    net = build(network, RandomFeatures(12), φ)
    finite = NETWORKS[network](net, seeded(7))
    expected, (held, _) = train(net, 3), batch(net, 50)
    outputs = [finite(held).detach()]
    for step in range(3):
        x, y = batch(net, step)
        finite.step(
            lambda f, x=x, y=y: (f(x) - y).square().sum(-1).mean(),
            dict(hidden=1.0, **RATES), lr=0.1, clip=0.5, decay=0.01, momentum=0.5,
        )  # fmt: skip
        outputs.append(finite(held).detach())
    assert (expected[-1] - expected[0]).norm() > 0.05 * expected[0].norm(), "the function has moved"
    assert_close(torch.stack(outputs), expected, rtol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_polynomial_activation_makes_constant_memory_exact(network):
    exact, hermite = (train(build(network, features), 4) for features in (Atoms(), Hermite(2)))
    assert (exact[-1] - exact[0]).norm() > 0.05 * exact[0].norm(), "the function has moved"
    assert_close(hermite, exact, rtol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
def test_hermite_agrees_with_atoms_to_its_stated_error(network):
    exact, near = (build(network, features, ReLU()) for features in (Atoms(), Hermite(4)))
    outputs, approximate = train(exact, 3), train(near, 3)
    error = float((approximate[-1] - outputs[-1]).norm() / outputs[-1].norm())
    stated = near.error_report(batch(near, 50)[0])
    assert 0 < error < sum(e.output + e.gradient for e in stated)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_samples_of_a_limit_approach_it_at_each_step_of_training(network):
    start = build(network, Atoms(), Erf(), rank=2)
    limit, widths = train(build(network, Atoms(), Erf(), rank=2), 2), (128, 512, 2048)

    def gap(width, draw):
        return (train(start.sample(width, seeded(1000 + draw)), 2) - limit).flatten(1).norm(dim=1)

    gaps = torch.stack([torch.stack([gap(width, draw) for draw in range(16)]) for width in widths])
    for step in range(3):
        errors = gaps[:, :, step].log().mean(1).exp().tolist()
        assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.12), f"after {step} steps"
