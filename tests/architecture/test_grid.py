"""The grid of docs/architectures.md: every network by every reading, filled, or refused for the reason that it says."""

import re
from pathlib import Path

import pytest
import torch

from mupi.activations import ReLU
from mupi.architecture import (
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Flatten,
    Normalize,
    Permute,
    Width,
    activate,
    chain,
    describe,
    residual,
)
from mupi.architecture.zoo import cnn, gpt, perceptron, resnet, vit

n = Width()
DOCS = Path(__file__).parents[2] / "docs" / "architectures.md"


def post_activation(x):
    """ReLU(h + ReLU(Conv h)), a residual block as He et al. (2015) had it."""
    h = activate(ReLU())(Conv(n, (3, 3), padding=(1, 1))(Permute((1, 2, 0))(x)))
    h = activate(ReLU())(Add()(h, Conv(n, (3, 3), padding=(1, 1))(h)))
    return Dense(10)(AveragePool()(h))


def root_attention(x):
    """Attention with logits q·k/√d."""
    x = Dense(n)(x)
    attended = Attention(2, exponent=-0.5)(*(Dense(n)(x) for _ in range(3)))
    return Dense(10)(AveragePool()(chain(Normalize(), ReLU())(Add()(x, Dense(n)(attended)))))


NETWORKS = {
    "perceptron": perceptron(12, 10, depth=2),
    "CNN, mean over positions": cnn((3, 4, 4), 10, depth=2),
    "CNN, strides, flattened": describe(
        (3, 6, 4),
        chain(
            Permute((1, 2, 0)), Conv(n, (3, 3), (2, 2), (1, 1)), ReLU(), Conv(n, (2, 2)), ReLU(), Flatten(), Dense(10)
        ),
    ),
    "ResNet, pre-activation": resnet((3, 4, 4), 10, blocks=(1, 1)),
    "ResNet, post-activation": describe((3, 4, 4), post_activation),
    "CNN, centered over the batch": describe(
        (3, 4, 4), chain(Permute((1, 2, 0)), Conv(n, (3, 3)), Center(), ReLU(), AveragePool(), Dense(10))
    ),
    "perceptron, LayerNorm": describe(
        (12,), chain(Dense(n), residual(Normalize(gain=True, shift=True), ReLU(), Dense(n)), ReLU(), Dense(10))
    ),
    "ViT, q·k/d": vit((3, 4, 4), 2, 10, depth=1, heads=2),
    "ViT, SwiGLU": vit((3, 4, 4), 2, 10, depth=1, heads=2, gated=True),
    "GPT, q·k/d": gpt(7, 5, depth=1, heads=2),
    "transformer, q·k/√d": describe((5, 3), root_attention),
}


def inputs(net):
    """Two of them, in float64 or of tokens."""
    g = torch.Generator().manual_seed(0)
    if net.input.integers:
        return torch.randint(7, (2, *net.input.axes), generator=g)
    return torch.randn(2, *net.input.axes, dtype=torch.float64, generator=g)


def nngp(net, x):
    """Its matrix."""
    output = "mean" if net.output.positions else None
    assert torch.isfinite(net.nngp(output=output)(x)).all()
    assert torch.isfinite(net.ntk(output=output)(x)).all()


def pi(net, x):
    """Its outputs."""
    assert torch.isfinite(net.pi(6, dtype=torch.float64)(x)).all()


def finite(net, x):
    """Its outputs."""
    assert torch.isfinite(net.finite(8, dtype=torch.float64)(x)).all()


def program(net, x):
    """The covariance of its outputs, given a run of it."""
    lines = net.program(x)
    assert torch.isfinite(lines.covariance(lines.run(16, torch.Generator().manual_seed(0)))).all()


READINGS = {"NNGP, NTK": nngp, "π-limit": pi, "finite network": finite, "Tensor Program": program}


def table():
    """The rows of the page: what is in each cell, ✓ or a reason."""
    text = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|$", text[text.index("## The grid") :], re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[1:]}


def test_the_page_has_every_network_and_every_reading():
    assert list(table()) == list(NETWORKS)
    assert all(list(row) == list(READINGS) for row in table().values())


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_each_cell_is_as_the_page_says(name, reading):
    net, cell = NETWORKS[name], table()[name][reading]
    if cell == "✓":
        READINGS[reading](net, inputs(net))
        return
    with pytest.raises(ValueError, match=r"\w") as error:
        READINGS[reading](net, inputs(net))
    assert cell in str(error.value), f"the page says {cell!r}; the error is {error.value}"
