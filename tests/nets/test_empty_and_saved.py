"""Batches of no input pass through every network, and every state is stored by formats that take plain tensors only."""

import pytest
import torch
from safetensors.torch import load, save

import mupi
from assertions import assert_equal
from mupi.nets import MuCNN

SHAPE = (1, 4, 4)


def generator():
    return torch.Generator().manual_seed(0)


π_NETS = {
    "PiMLP": lambda f: mupi.PiMLP(16, 3, rank=4, features=f, generator=generator()),
    "PiCNN": lambda f: mupi.PiCNN(SHAPE, 3, rank=4, pools=(2,), input_stride=1, features=f, generator=generator()),
    "PiResNet": lambda f: mupi.PiResNet(SHAPE, 3, 4, (1, 1), input_stride=1, features=f, generator=generator()),
    "PiTransformer": lambda f: mupi.PiTransformer(mupi.Patches(SHAPE, 2), 3, rank=4, features=f, generator=generator()),
}
FEATURES = [mupi.Hermite(2), mupi.Hermite(2, subspace=2), mupi.RandomFeatures(8), mupi.Atoms()]
NETS = {
    f"{name}-{i}": lambda make=make, features=features: make(features)
    for name, make in π_NETS.items()
    for i, features in enumerate(FEATURES)
}
NETS["MLP"] = lambda: mupi.MLP(16, 3, 8, 2, generator=generator())
NETS["MuCNN"] = lambda: MuCNN(SHAPE, 3, 8, pools=(2,), input_stride=1, generator=generator())
NETS["LinearMuLimit"] = lambda: mupi.LinearMuLimit(16, 3)


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_a_batch_of_no_input_has_no_outputs_and_changes_nothing(make):
    net, untouched = make(), make()
    empty, x = torch.zeros(0, 16), torch.randn(5, 16, generator=generator())
    out = net(empty)
    assert out.shape == (0, 3)
    out.sum().backward()
    if hasattr(net, "parameter_groups"):
        mupi.SGD(net.parameter_groups(lr=1.0), clip=0.4).step()
    assert_equal(net(x), untouched(x))
    if hasattr(net, "feature_kernel"):
        assert net.feature_kernel(empty, x).shape == (0, 5)
        assert net.feature_kernel(x, empty).shape == (5, 0)


@pytest.mark.parametrize("make", π_NETS.values(), ids=π_NETS)
def test_the_error_on_no_input_is_refused(make):
    with pytest.raises(ValueError, match=r"`error_report\(x\)` must be at least one input; got shape \(0, 16\)"):
        make(mupi.Hermite(2)).error_report(torch.zeros(0, 16))


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_safetensors_keeps_every_state(make):
    state = {name: value for name, value in make().state_dict().items() if isinstance(value, torch.Tensor)}
    for name, value in load(save(state)).items():
        assert_equal(value, state[name])
