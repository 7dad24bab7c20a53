"""Tensor Programs of descriptions: their limits are kernels, and finite networks approach them."""

import pytest
import torch

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi.activations import GELU, Erf, NormalizedPolynomial, ReLU, Tanh
from mupi.architecture import (
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Dropout,
    Embed,
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
from mupi.architecture.zoo import cnn, gpt, perceptron, resnet, vit
from mupi.kernels import NNGP, ConvNNGP
from mupi.parametrization import Roles
from mupi.programs import Program

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


@pytest.mark.parametrize("average", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_convolutional_networks_limit_is_its_kernel(average):
    images = randn(2, 1, 1, 2)
    net = cnn((1, 1, 2), 3, depth=2, average=average)
    kernel = ConvNNGP((1, 1, 2), 2, ReLU(), pooling=average, sigma_b=0.3)
    assert_close(limit(net, images, sigma_b=0.3), kernel(images.flatten(1)), rtol=5e-14)


LAYERNORM = describe((3,), chain(named("first", Dense(n)), residual(Normalize(), Erf(), Dense(n)), ReLU(), Dense(2)))
TRANSFORMER = vit((1, 2, 2), 2, 2, depth=1, heads=2, activation=Erf())
TOKENS = gpt(3, 2, depth=1, activation=Erf())


@pytest.mark.parametrize(
    ("net", "x"),
    [(LAYERNORM, randn(2, 3)), (TRANSFORMER, randn(2, 1, 2, 2)), (TOKENS, torch.tensor([[0, 2], [1, 1]]))],
    ids=["layernorm", "vit", "gpt"],
)
def test_limits_are_the_kernels_of_the_architecture(net, x):
    got = limit(net, x, sigma_w=1.3, sigma_b=0.2)
    of_tokens = got.ndim > 2  # an output for each
    kernel = net.nngp(1.3, 0.2, output=1 if of_tokens else None)
    assert_close(got[:, 1, :, 1] if of_tokens else got, kernel(x).double(), rtol=1e-6 if of_tokens else 5e-13)


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


SIGMAS = dict.fromkeys(("input", "hidden", "readout"), 1.2)
QUICK = ("post-activation", "tied", "positions")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
)
def test_finite_networks_approach_the_limit_at_the_rate_of_a_square_root(name):
    net, shape = NETS[name]
    x = randn(*shape)
    tables = {node.name for node in net if isinstance(node.operation, Table)}
    p = net.program(x, sigma_w=SIGMAS | dict.fromkeys(tables, 0.8), sigma_b=0.3)
    expected = p.covariance(p.limit(samples=4096, generator=seeded(), replicates=2))
    widths, draws = [16, 48, 144], 24
    gaps = [
        root_mean_square([float((outputs(net, x, width, seed) - expected).norm()) for seed in range(draws)])
        for width in widths
    ]
    assert fitted_slope(widths, gaps) == pytest.approx(-0.5, abs=0.17)


def test_a_readout_that_is_the_embedding_goes_to_numbers():
    """f = Eᵀ x/n with x = E x + W tanh(E x): the second part is independent of E, so f → σ² 1(token = channel)."""

    def network(x):
        h = named("tokens", Embed(4, n))(x)
        h = chain(residual(Tanh(), named("mix", Dense(n, False))))(h)
        return h.then(Dense(4, False), name="head", weights="tokens")

    net, x = describe((3,), network, integers=True), torch.tensor([[0, 3, 1]])
    p = net.program(x, sigma_w={"tokens": 0.7})
    want = 0.49 * torch.nn.functional.one_hot(x, 4).double()
    assert_close(p.covariance(p.limit()), want, rtol=1e-12)
    finite = net.finite(4096, parametrization=Roles.mup(), sigma_w=2**0.5, embed_std=0.7, generator=seeded(), dtype=F64)
    assert_close(finite(x), want, rtol=6 / 4096**0.5)


def test_it_is_a_program_as_any_other():
    p = perceptron(3, 2, depth=1).program(randn(2, 3))
    assert isinstance(p, Program)
    ran = p.run(500, seeded(), keep=[p.layers["layers.0"]])
    assert ran[p.layers["layers.0"]].shape == (500, 2)
    assert_close(p.covariance(ran), p.covariance(p.limit()), rtol=0.3)
    constant = describe((3,), chain(Dense(2), lambda x: Table((), n)(x), Tanh(), Dense(2)))
    K = limit(constant, randn(2, 3), sigma_b=0.5)
    assert K.shape == (2, 2) and float(K.std()) < 1e-12
    zero = describe((2,), chain(named("first", Dense(n)), Normalize(), Tanh(), Dense(2)))
    assert not limit(zero, torch.zeros(1, 2)).any()


def test_weights_between_positions_add_up_over_uses():
    """The same readout at two positions, added: what it reads is added before it is averaged."""

    def network(x):
        h = chain(named("first", Dense(n)), ReLU())(x)
        one = named("out", Dense(2))(Select(0)(h))
        return Add()(one, Select(1)(h).then(Dense(2), name="again", weights="out"))

    x = randn(2, 2, 3)
    got = limit(describe((2, 3), network), x, sigma_b=0.3)
    K = NNGP(1, ReLU(), sigma_b=0.3)(x.flatten(0, 1)).reshape(2, 2, 2, 2) - 0.09
    assert_close(got, K.sum((1, 3)) + 4 * 0.09, rtol=5e-14)


def attention(exponent):
    """Of one layer on itself."""
    h = named("first", Dense(n))
    return chain(h, lambda v: Attention(exponent=exponent)(*(Dense(n)(v) for _ in range(3))), Dense(2))


@pytest.mark.parametrize(
    ("net", "x", "message"),
    [
        (describe((2, 3), attention(-0.5)), randn(1, 2, 3), r"`Attention\(.*a Tensor Program.*d\^\(-0.5\).*random"),
        (describe((3,), chain(Dense(n), Scale(1.0, -0.5), Dense(2))), randn(1, 3), r"`Scale\(.*a power of n"),
        (describe((3,), chain(Dense(2), Dense(n), Dense(2))), randn(1, 3), r"`Dense\(2\)` \(dense_1\).*finitely many"),
        (describe((3,), chain(Dense(n), Dense(2), Tanh(), Dense(2))), randn(1, 3), "it reads outputs"),
        (cnn((1, 32, 32), 2), randn(2, 1, 32, 32), r"2 × 32 × 32 = 2048 columns.*34 MB each.*at most 1024"),
        (perceptron(3, 2), randn(1, 4), r"`x` must be of shape \(..., 3\)"),
    ],
)
def test_what_has_no_limit_is_refused_by_name(net, x, message):
    with pytest.raises(ValueError, match=message) as error:
        net.program(x)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"`program\(sigma_w=...\)` must be a"):
        net.program(x, sigma_w=-1.0)
