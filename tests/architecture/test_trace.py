"""Traced modules: what the description means is what the module computes, and it is what one would write by hand."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mupi
from architecture import traced_modules as modules
from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Conv,
    Dense,
    Normalize,
    Permute,
    Width,
    activate,
    chain,
    describe,
    zoo,
)
from oracles.interpreter import at, interpret

IMAGES, TOKENS = (3, 8, 8), (9,)
n = Width()


def example(axes):
    """Two samples: tokens for one axis of 9, else numbers."""
    generator = torch.Generator().manual_seed(1)
    if axes == TOKENS:
        return torch.randint(0, 11, (2, *axes), generator=generator)
    return torch.randn(2, *axes, generator=generator)


def double(x):
    return x.double() if x.is_floating_point() else x


def agrees(net, make_model, axes, width=12):
    """The description, after a look whether it computes what the module does."""
    module = make_model(width).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / p[0].numel() ** 0.5)
        x = double(example(axes))
        torch.testing.assert_close(interpret(net, module.state_dict(), x, width), module(x), rtol=1e-10, atol=1e-10)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert {p.name: tuple(at(size, width) for size in p.axes) for p in net.parameters} == shapes
    return net


CASES = {
    "perceptron": (modules.perceptron, (7,)),
    "cnn": (modules.Cnn, IMAGES),
    "flat cnn": (lambda n: modules.Cnn(n, flat=True), IMAGES),
    "circular cnn": (lambda n: modules.Cnn(n, mode="circular"), IMAGES),
    "resnet": (modules.PreActResNet, IMAGES),
    "gpt": (modules.Gpt, TOKENS),
    "gpt by hand": (lambda n: modules.Gpt(n, flash=False, tied=False), TOKENS),
    "encoder": (modules.Encoder, (5, 5)),
    "post-norm encoder": (lambda n: modules.Encoder(n, False, "relu", False, True), (5, 5)),
    "vit": (lambda n: modules.Vit(n, False), IMAGES),
    "vit with a token": (modules.Vit, IMAGES),
    "swiglu": (modules.SwiGlu, (6,)),
    "fused swiglu": (lambda n: modules.SwiGlu(n, True), (6,)),
    "gpt of μP": (lambda n: modules.MupGpt(n, 11, 9, 2, 4), TOKENS),
    "gated gpt of μP": (lambda n: modules.MupGpt(n, 11, 9, 1, 2, True), TOKENS),
    "vit of μP": (lambda n: modules.MupVit(n, 4, 4, 2), IMAGES),
}


@cache
def traced(name):
    """Several tests look at the same descriptions."""
    make_model, axes = CASES[name]
    return mupi.trace(make_model, example(axes))


@pytest.mark.parametrize("name", CASES)
def test_the_description_computes_what_the_module_does(name):
    agrees(traced(name), *CASES[name])


def anonymous(net):
    """Operations, shapes, what they read and whose weights they have, without names and sources, in one order."""
    order = []

    def visit(place):
        if place not in order:
            for i in net.nodes[place].inputs:
                visit(i)
            order.append(place)

    visit(len(net) - 1)
    places = {net.nodes[old].name: new for new, old in enumerate(order)}
    nodes = [net.nodes[old] for old in order]
    return [
        (plain(node.operation), net.shapes[old], [order.index(i) for i in node.inputs], places[node.owner])
        for old, node in zip(order, nodes, strict=True)
    ]


def plain(operation):
    """μP's factor of attention in full, which descriptions by hand leave to the reading."""
    return replace(operation, factor=1.0) if isinstance(operation, Attention) else operation


def block(out, stride, project):
    """modules.PreActBlock."""

    def through(x):
        y = chain(Normalize(True, 1e-5, True, True), mupi.ReLU())(x)
        skip = Conv(out, (1, 1), (stride, stride), bias=False)(y) if project else x
        h = chain(Conv(out, (3, 3), (stride, stride), (1, 1), bias=False), Normalize(True, 1e-5, True, True))(y)
        return Add()(chain(mupi.ReLU(), Conv(out, (3, 3), padding=(1, 1), bias=False))(h), skip)

    return through


RESNET = chain(
    Permute((1, 2, 0)),
    Conv(n, (3, 3), padding=(1, 1), bias=False),
    block(n, 1, False),
    block(n, 1, False),
    block(2 * n, 2, True),
    Normalize(True, 1e-5, True, True),
    mupi.ReLU(),
    AveragePool(),
    Dense(10),
)

BY_HAND = {
    "perceptron": zoo.perceptron(7, 3),
    "cnn": zoo.cnn(IMAGES, 10, 2, stride=2, pools=(2,)),
    "flat cnn": zoo.cnn(IMAGES, 10, 2, stride=2, pools=(2,), average=False),
    "resnet": describe(IMAGES, RESNET),
    "gpt of μP": zoo.gpt(11, 9),
    "gated gpt of μP": zoo.gpt(11, 9, 1, 2, gated=True),
    "vit of μP": zoo.vit(IMAGES, 4, 10, 1, 2),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_traced_network_is_the_one_written_by_hand(name):
    assert anonymous(traced(name)) == anonymous(BY_HAND[name])


def test_parameters_have_their_names_sizes_and_roles():
    net = traced("gpt")
    found = {p.name.removeprefix("transformer."): (p.role, " ".join(map(str, p.axes))) for p in net.parameters}
    assert found == {
        "wte.weight": ("input", "11 n"),
        "wpe.weight": ("input", "16 n"),
        "h.0.ln_1.weight": ("vector", "n"),
        "h.0.ln_1.bias": ("vector", "n"),
        "h.0.ln_2.weight": ("vector", "n"),
        "h.0.ln_2.bias": ("vector", "n"),
        "h.0.attn.c_attn.weight": ("hidden", "3n n"),
        "h.0.attn.c_attn.bias": ("vector", "3n"),
        "h.0.attn.c_proj.weight": ("hidden", "n n"),
        "h.0.attn.c_proj.bias": ("vector", "n"),
        "h.0.c_fc.weight": ("hidden", "4n n"),
        "h.0.c_fc.bias": ("vector", "4n"),
        "h.0.c_proj.weight": ("hidden", "n 4n"),
        "h.0.c_proj.bias": ("vector", "n"),
        "ln_f.weight": ("vector", "n"),
    }
    (tied,) = (node for node in net if node.weights)
    assert (tied.weights, net.role(len(net) - 1)) == ("transformer.wte", "readout")
    fused = [node.name.removeprefix("transformer.h.0.attn.") for node in net if "c_attn" in node.name]
    assert fused == ["c_attn[0]", "c_attn[1]", "c_attn[2]"]
    assert {p.name: p.role for p in traced("perceptron").parameters} == {
        "0.weight": "input",
        "0.bias": "vector",
        "2.weight": "hidden",
        "2.bias": "vector",
        "4.weight": "readout",
        "4.bias": "finite",
    }


def test_what_is_written_by_hand_has_parameters_too():
    net = zoo.vit(IMAGES, 4, 10, 1, 2)
    roles = {p.name: p.role for p in net.parameters}
    assert roles["patches.weight"] == roles["positions"] == "input" and roles["out.bias"] == "finite"
    assert roles["blocks.0.query.weight"] == "hidden" and roles["blocks.0.query.bias"] == "vector"


def line_with(text, cls):
    """Where the first line of a class that has the text is."""
    import inspect

    lines, first = inspect.getsourcelines(cls)
    return f"traced_modules.py:{first + next(i for i, line in enumerate(lines) if text in line)}"


def test_each_step_names_the_users_line():
    sources = {node.name: node.source for node in traced("vit with a token")}
    assert sources["patches"] == line_with("self.patches(x)", modules.Vit)
    assert sources["attention.out_proj"] == line_with("need_weights=False", modules.Vit)  # not a line of torch's
    assert sources["join_1"] == line_with("torch.cat", modules.Vit)
    # Torch calls the layers of a Sequential by itself; the line that made them is the user's.
    made = {node.source for node in list(traced("perceptron"))[1:]}
    assert len(made) == 1 and made.pop().startswith("traced_modules.py:")


CLOSED = [F.relu, torch.abs, torch.erf, F.gelu, torch.tanh, torch.sin, torch.cos, F.leaky_relu, torch.square]
OTHERS = [
    torch.sigmoid, F.elu, F.celu, F.selu, F.softplus, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.mish,
    F.logsigmoid,
]  # fmt: skip


class Functions(nn.Module):
    """Many functions, each of a layer of its own."""

    def __init__(self, width, functions):
        super().__init__()
        self.functions = functions
        self.layers = nn.ModuleList([nn.Linear(3, width) for _ in functions])
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(sum(f(layer(x)) for f, layer in zip(self.functions, self.layers, strict=True)))


def activations(functions):
    def make_model(n):
        return Functions(n, functions)

    net = agrees(mupi.trace(make_model, example((3,))), make_model, (3,))
    return [node.operation.activation for node in net if isinstance(node.operation, Activate)]


@pytest.mark.parametrize("functions", [CLOSED, [F.silu], pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_pytorchs_functions_become_the_same_activations_as_by_hand(functions):
    assert activations(functions) == [activate(f).activation for f in functions]


def test_functions_written_by_hand_are_one_activation_each():
    found = activations([
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3)))),
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: x.clamp(-1, 1),
        lambda x: 1 - x**3 / 2,
        lambda x: F.relu(x) ** 2,
        lambda x: x + F.relu(x),
    ])  # fmt: skip
    assert len(found) == 8
    assert found[1:3] == [mupi.LeakyReLU(0.2), mupi.ReLU()] and found[5] == mupi.Polynomial((1.0, 0.0, 0.0, -0.5))
    assert isinstance(found[3], mupi.PiecewiseLinear) and isinstance(found[7], mupi.PiecewiseLinear)


class Sizes(nn.Module):
    """Hidden layers of other multiples, multipliers that depend on the width, heads."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(3, width // 2), nn.Linear(width // 2, 3 * width // 2)
        self.c = nn.Linear(3 * width // 2, 5)
        self.width = width

    def forward(self, x):
        x = F.relu(self.a(x)) * self.width**0.5
        return self.c(self.b(x) / 3) / self.width


def test_sizes_are_multiples_of_the_width_and_numbers_powers_of_it():
    net = agrees(mupi.trace(Sizes, example((3,))), Sizes, (3,))
    assert [str(shape) for shape in net.shapes] == [
        "(3,)", "(n/2,)", "(n/2,)", "(n/2,)", "(3n/2,)", "(3n/2,)", "(5,)", "(5,)",
    ]  # fmt: skip
    assert [(node.operation.factor, node.operation.exponent) for node in net if "scale" in node.name] == [
        (1.0, 0.5), (1 / 3, 0.0), (1.0, -1.0),
    ]  # fmt: skip
