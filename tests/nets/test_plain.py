import pytest
import torch
from torch import nn

from assertions import assert_close
from cases import ACTIVATIONS, randn, seeded
from mupi import Hermite, PiMLP, Random, ReLU
from mupi.nets import plain


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias_scale", [0.0, 0.5])
def test_it_is_the_same_function(name, bias_scale):
    net = PiMLP(
        5,
        3,
        rank=4,
        depth=3,
        features=Random(11),
        activation=ACTIVATIONS[name],
        input_scale=0.7,
        output_scale=0.3,
        bias_scale=bias_scale,
        readout_std=1.0,
        generator=seeded(),
        dtype=torch.float64,
    )
    for name_, p in net.named_parameters():
        if name_.endswith("bias"):
            p.data.normal_(generator=seeded(1))
    x = randn(6, 5, seed=2)
    assert_close(plain(net)(x), net(x))


def test_it_is_made_of_linear_layers_of_the_width_and_pytorchs_own_activation():
    net = PiMLP(5, 3, rank=4, depth=2, features=Hermite(2), activation=ReLU(), readout_std=1.0, generator=seeded())
    modules = list(plain(net.sample(9, seeded(1))))
    assert [type(m) for m in modules] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(m.weight.shape) for m in modules[::2]] == [(9, 5), (9, 9), (3, 9)]


def test_a_limit_is_refused_and_told_to_be_sampled():
    with pytest.raises(ValueError, match=r"HermiteWeight.*plain\(net.sample\(width\)\)"):
        plain(PiMLP(5, 3, rank=4, features=Hermite(2)))
