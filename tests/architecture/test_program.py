"""Tensor Programs of descriptions: their limits are kernels, and finite networks approach them."""

import pytest
import torch

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi.activations import GELU, Erf, NormalizedPolynomial, ReLU, Tanh
from mupi.architecture import (
    Add,
    AveragePool,
    Center,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
    Width,
    chain,
    describe,
    named,
    residual,
)
from mupi.architecture.zoo import cnn, perceptron, resnet, vit
from mupi.kernels import NNGP, ConvNNGP
from mupi.parametrization import Roles

F64 = torch.float64
n = Width()


def limit(net, x, **options):
    """The covariance of the outputs."""
    p = net.program(x, **options)
    return p.covariance(p.limit())


def test_a_perceptrons_limit_is_its_kernel():
    x = randn(3, 5)
    got = limit(perceptron(5, 2, depth=2), x, sigma_w=1.3, sigma_b=0.4)
    assert_close(got, NNGP(2, ReLU(), 1.3, 0.4)(x), rtol=5e-14)
    net = perceptron(5, 2, depth=2, activation=Erf(), bias=False)
    assert_close(limit(net, x), NNGP(2, Erf())(x), rtol=5e-14)


@pytest.mark.parametrize("average", [True, False])
def test_a_convolutional_networks_limit_is_its_kernel(average):
    images = randn(2, 1, 1, 2)
    net = cnn((1, 1, 2), 3, depth=2, average=average)
    kernel = ConvNNGP((1, 1, 2), 2, ReLU(), pooling=average, sigma_b=0.3)
    assert_close(limit(net, images, sigma_b=0.3), kernel(images.flatten(1)), rtol=5e-14)


def test_names_tell_where_a_line_comes_from():
    p = resnet((1, 2, 2), 3, blocks=(1,)).program(randn(1, 1, 2, 2), sigma_b=0.5)
    names = {line.name for line in p.lines}
    assert {"h.input", "h.stages.0.0", "W.stages.0.0[0,0]", "b.stages.0.0", "last.out", "K"} <= names
    assert set(p.layers) >= {"input", "stages.0.0", "add_1"}
    text = p.explain(samples=400)
    assert "h.stages.0.0" in text and "Ẑ in the family of W.stages.0.0[0,0]" in text


def post_activation(x):
    """relu(x + W relu(V x)) twice: the second sees functions of sums of functions."""
    x = chain(named("first", Dense(n)), ReLU())(x)
    for i in range(2):
        inner = chain(named(f"{i}.up", Dense(n)), Tanh(), named(f"{i}.down", Dense(n)))(x)
        x = chain(lambda v, inner=inner: Add()(v, inner), ReLU())(x)
    return named("out", Dense(2))(x)


def tied(x):
    """The same hidden weight three times."""
    h = chain(named("first", Dense(n)), Tanh())(x)
    for i in range(3):
        h = chain(lambda v, i=i: v.then(Dense(n), name=f"step {i}", weights="" if i == 0 else "step 0"), Tanh())(h)
    return named("out", Dense(2))(h)


def swiglu(x):
    """A gate between a function and a layer, behind a normalization with eps."""
    h = chain(named("first", Dense(n)), Normalize(eps=0.3))(x)
    gate = Multiply()(chain(named("up", Dense(4 * n)), GELU())(h), named("gate", Dense(4 * n))(h))
    return named("out", Dense(2))(Add()(h, named("down", Dense(n))(gate)))


def everything_of_positions(x):
    """A strided circular convolution, a class token, the mean over the batch, overlapping blocks, flattened."""
    h = chain(named("conv", Conv(n, (3,), (2,), (1,), "circular")), Tanh(), named("mix", Conv(n, (3,), padding=(2,))))(
        x
    )
    h = Join()(named("token", Table((1,), n))(h), h)
    h = chain(Center(), Tanh(), AveragePool((2,), (1,)), Dropout(0.0), Reshape((1, 5)), Permute((1, 0)))(h)
    h = Add()(Select(1, 5)(h), Select(0)(h))
    return chain(Flatten(), named("out", Dense(2)), Scale(0.5))(Normalize(subtract=False)(h))


NETS = {
    "perceptron": (perceptron(3, 2, depth=2, activation=Tanh()), (3, 3)),
    "cnn": (cnn((1, 3, 2), 2, depth=2, stride=2), (2, 1, 3, 2)),
    "resnet": (resnet((1, 4, 4), 2, blocks=(1, 1)), (2, 1, 4, 4)),
    "layernorm": (
        describe((3,), chain(Dense(n), residual(Normalize(eps=0.1), ReLU(), Dense(n)), Normalize(), Dense(2))),
        (3, 3),
    ),
    "vit": (vit((1, 4, 4), 2, 2, depth=1, heads=2, gated=True), (2, 1, 4, 4)),
    "post-activation": (describe((3,), post_activation), (3, 3)),
    "tied": (describe((3,), tied), (3, 3)),
    "swiglu": (describe((3,), swiglu), (3, 3)),
    "positions": (describe((6, 2), everything_of_positions), (2, 6, 2)),
    "normalized polynomial": (
        perceptron(3, 2, depth=2, activation=NormalizedPolynomial((0.2, 0.8, 0.5, -0.3))),
        (3, 3),
    ),
}


def outputs(net, x, width, seed):
    """Of a finite network in NTK parametrization, its conditional covariance: σ_w² times its feature kernel, + σ_b²."""
    finite = net.finite(
        width, parametrization=Roles.ntk(), sigma_w=1.2, sigma_b=0.3, embed_std=0.8, generator=seeded(seed), dtype=F64
    )
    with torch.no_grad():
        features = finite.features(x)
        scale = 0.25 if isinstance(net.nodes[-1].operation, Scale) else 1.0
        return scale * (1.44 * finite.readout.kernel(features, features) + 0.09)


@pytest.mark.parametrize("name", NETS)
def test_finite_networks_approach_the_limit_at_the_rate_of_a_square_root(name):
    net, shape = NETS[name]
    x = randn(*shape)
    p = net.program(x, sigma_w=1.2, sigma_b=0.3, embed_std=0.8)
    expected = p.covariance(p.limit(samples=4096, generator=seeded(), replicates=2))
    widths, draws = [16, 48, 144], 24
    gaps = [
        root_mean_square([float((outputs(net, x, width, seed) - expected).norm()) for seed in range(draws)])
        for width in widths
    ]
    assert fitted_slope(widths, gaps) == pytest.approx(-0.5, abs=0.17)
