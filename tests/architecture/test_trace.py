"""Traced modules: what the description means is what the module computes."""

import pytest
import torch

import mupi
from architecture import traced_modules as modules
from oracles.interpreter import interpret

IMAGES, TOKENS = (3, 8, 8), (9,)


def example(axes):
    """Two samples: tokens for one axis of 9, else numbers."""
    generator = torch.Generator().manual_seed(1)
    if axes == TOKENS:
        return torch.randint(0, 11, (2, *axes), generator=generator)
    return torch.randn(2, *axes, dtype=torch.float64, generator=generator)


def agrees(make_model, axes, width=12):
    """The description of a module, after a look whether it computes what the module does."""
    net = mupi.trace(make_model, example(axes).float() if axes != TOKENS else example(axes))
    module = make_model(width).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / max(1, p[0].numel()) ** 0.5)
        x = example(axes)
        torch.testing.assert_close(interpret(net, module.state_dict(), x, width), module(x), rtol=1e-10, atol=1e-10)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    sizes = {
        p.name: tuple(s.at(width) if isinstance(s, mupi.architecture.Width) else s for s in p.axes)
        for p in net.parameters
    }
    assert sizes == shapes
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
}


@pytest.mark.parametrize("name", CASES)
def test_the_description_computes_what_the_module_does(name):
    agrees(*CASES[name])
