"""The finite network of a traced module is the module: with its parameters, under its names."""

import pytest
import torch

import mupi
from architecture import traced_modules as modules
from architecture.test_trace import CASES, double, example
from mupi.parametrization import Roles
from oracles.interpreter import node_parameters

WIDTH = 12
TIED = ("gpt",)
"""Whose logits have the multiplier n^{−1/2} of a readout, which the embedding's entries lack."""

SAME_NAMES = ("perceptron", "cnn", "circular cnn", "resnet")
"""Without parameters that are cut into several."""


@pytest.mark.parametrize("name", CASES)
def test_with_a_modules_parameters_it_computes_what_the_module_does(name):
    make_model, axes = CASES[name][:2]
    arch = mupi.trace(make_model, example(axes))
    net = arch.finite(WIDTH, parametrization=Roles.standard(), dtype=torch.float64).eval()
    module = make_model(WIDTH).double().eval()
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            generator = torch.Generator().manual_seed(i)
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / p[0].numel() ** 0.5)
        for node, given in node_parameters(arch, module.state_dict(), WIDTH).items():
            own = net._owner(node)
            for kind, value in given.items():
                parameter = own.weight if kind in ("weight", "gain") else own.bias
                if parameter is not None:  # that of a tied weight is the other's
                    parameter.copy_(value.reshape(parameter.shape))
        x = double(example(axes))
        expected = module(x) / (WIDTH**0.5 if name in TIED else 1.0)
        torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)
    if name in SAME_NAMES:
        shapes = {key: tuple(p.shape) for key, p in net.named_parameters()}
        assert shapes == {key: tuple(p.shape) for key, p in module.named_parameters()}


def test_a_bare_parameter_keeps_its_name():
    arch = mupi.trace(lambda n: modules.Vit(n, False), torch.zeros(2, 3, 8, 8))
    names = {name for name, _ in modules.Vit(WIDTH, False).named_parameters()}
    bare = {name for name in names if "." not in name}
    assert bare and bare <= dict(arch.finite(WIDTH).named_parameters()).keys()
