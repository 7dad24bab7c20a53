"""NNGP and NTK of architectures against finite networks written in plain PyTorch: the gap falls as n^{-1/2}."""

import pytest
import torch

from assertions import fitted_slope, root_mean_square
from cases import randn, seeded
from mupi.activations import Erf, ReLU, as_activation
from mupi.architecture import (
    Add,
    Architecture,
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
    Value,
    Width,
    chain,
    describe,
    residual,
)
from mupi.architecture.draft import Draft
from mupi.architecture.operation import Input
from oracles import ntk_networks
from oracles.ntk_networks import SIGMA_B, SIGMA_W, Net

n = Width()
NORM = Normalize(eps=1e-5, gain=True, shift=True)
SILU = as_activation(torch.nn.functional.silu)


def attention(heads, causal=False):
    def attend(x: Value) -> Value:
        q, k, v = (Dense(n, False)(x) for _ in range(3))
        return Dense(n, False)(Attention(heads, causal)(q, k, v))

    return attend


def skip_pool(x: Value) -> Value:
    h = Conv(n, (2,))(x)
    return Add()(h, Reshape((1,))(AveragePool()(h)))


def vit(x: Value) -> Value:
    h = Reshape((6,))(Conv(n, (2, 2), (2, 2))(Permute((1, 2, 0))(x)))
    h = Join()(Table((1,), n)(x), h)
    h = Add()(h, Table((7,), n)(x))
    block = chain(
        residual(NORM, attention(1)), residual(NORM, Dense(2 * n), Erf(), Dense(n)), NORM, Select(0), Dense(1)
    )
    return block(h)


def gpt(x: Value) -> Value:
    h = Add()(Embed(5, n)(x), Table((3,), n)(x))
    return chain(residual(NORM, attention(2, True)), NORM, Dense(1))(h)


def gate(x: Value) -> Value:
    return Multiply()(chain(Dense(2 * n), SILU)(x), Dense(2 * n)(x))


def recurrent() -> Architecture:
    draft = Draft()
    x = draft.write(Input((3, 4)), (), "x")
    h = draft.write(Dense(n), (draft.write(Select(0), (x.place,)).place,), "in")
    for t in (1, 2):
        step = draft.write(Dense(n), (draft.write(Select(t), (x.place,)).place,), weights="in")
        h = Add()(draft.write(Dense(n), (chain(Erf())(h).place,), weights="again"), step)
    return Architecture(draft.finish(chain(Erf(), Dense(1))(h)))


NETWORKS = {
    "residual_perceptron": describe(
        (5,),
        chain(Dense(n), *(residual(NORM, ReLU(), Dense(n), scale=0.7) for _ in range(2)), NORM, ReLU(), Dense(1)),
    ),
    "post_activation": describe((5,), chain(Dense(n), residual(Dense(n), ReLU()), NORM, Dense(1))),
    "strided_cnn": describe(
        (2, 5, 4),
        chain(
            Permute((1, 2, 0)),
            Conv(n, (3, 2), (2, 1), (1, 1)),
            ReLU(),
            Conv(n, (2, 3), (1, 2), (0, 1)),
            ReLU(),
            Flatten(),
            Dense(1),
        ),
    ),
    "pooled_cnn": describe(
        (2, 3, 5),
        chain(
            Permute((1, 2, 0)),
            Conv(n, (3, 3), padding=(1, 1)),
            Erf(),
            AveragePool((2, 2), (1, 2)),
            Conv(n, (2, 2)),
            Erf(),
            AveragePool(),
            Dense(1),
        ),
    ),
    "skip_pool": describe((2, 4), chain(Permute((1, 0)), skip_pool, ReLU(), Flatten(), Dense(1))),
    "circular": describe(
        (2, 5),
        chain(
            Permute((1, 0)),
            Conv(n, (3,), (1,), (1,), "circular"),
            ReLU(),
            Conv(n, (2,), (2,), (1,), "circular"),
            ReLU(),
            AveragePool(),
            Dense(1),
        ),
    ),
    "vit": describe((1, 4, 6), vit),
    "gpt": describe((3,), gpt, integers=True),
    "swiglu": describe((5,), chain(Dense(n), residual(NORM, gate, Dense(n)), Dense(1))),
    "recurrent": recurrent(),
}
QUICK = ("residual_perceptron", "vit", "swiglu", "recurrent")


def inputs(name):
    arch = NETWORKS[name]
    if arch.input.integers:
        return torch.randint(5, (2, *arch.input.axes), generator=seeded())
    return (3.0 if name == "vit" else 1.0) * randn(3, *arch.input.axes)


def gaps(name, kernel, widths, seeds):
    """Relative distances of the finite networks' kernels from the limit, root mean square over seeds, by width."""
    arch, x = NETWORKS[name], inputs(name)
    settings = dict(sigma_w=SIGMA_W, sigma_b=SIGMA_B, output="each" if arch.output.positions else None)
    limit = (arch.nngp if kernel == "nngp" else arch.ntk)(**settings)(x).double()
    found = []
    for width in widths:
        nets = [Net(getattr(ntk_networks, name), width, seed) for seed in range(seeds)]
        distances = [float((getattr(net, kernel)(x) - limit).norm() / limit.norm()) for net in nets]
        found.append(root_mean_square(distances))
    return found


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("name", QUICK)
def test_finite_networks_come_near(name, kernel):
    narrow, wide = gaps(name, kernel, (16, 256), 4)
    assert wide < 0.2 and wide < 0.6 * narrow


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gap_falls_as_one_over_the_root_of_the_width(name, kernel):
    widths = (32, 128, 512)
    errors = gaps(name, kernel, widths, 200 if kernel == "nngp" else 60)
    assert -0.6 < fitted_slope(widths, errors) < -0.4
    assert errors[-1] < 0.1
