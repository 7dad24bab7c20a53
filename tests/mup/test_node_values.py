"""Values of a traced module from its description and its own parameters are what the module computes."""

import pytest
import torch
from torch import nn

import mupi
from architecture.test_trace import CASES, double, example, traced
from mupi.mup.node_values import node_values
from oracles.interpreter import interpret

WIDTH = 12


@pytest.mark.parametrize("name", ["gpt", "vit with a token", "circular cnn", "flat cnn", "fused swiglu"])
def test_every_value_is_that_of_an_interpreter(name):
    make_model, axes = CASES[name]
    arch, module = traced(name), make_model(WIDTH).double().eval()
    x, state = double(example(axes)), dict(module.named_parameters())
    with torch.no_grad():
        found = node_values(arch, state, x, WIDTH)
        torch.testing.assert_close(found[-1].expand_as(module(x)), module(x), rtol=1e-9, atol=1e-9)
        for value, expected in zip(found, interpret(arch, state, x, WIDTH, every=True), strict=True):
            expected = expected.reshape(len(expected), *value.shape[1:])
            torch.testing.assert_close(value.expand_as(expected), expected, rtol=1e-9, atol=1e-9)


def test_axes_of_size_one_are_seen():
    def make_model(width):
        return nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))

    module, x = make_model(5), torch.randn(3, 1)
    found = node_values(mupi.trace(make_model, x), dict(module.named_parameters()), x, 5)
    torch.testing.assert_close(found[-1], module(x))
