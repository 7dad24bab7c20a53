import pytest
import torch
from torch import nn

from assertions import assert_close
from cases import ACTIVATIONS, randn, seeded
from mupi import Hermite, PiMLP, RandomFeatures, ReLU, Tanh
from mupi.architecture import zoo
from mupi.nets import plain


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias_scale", [0.0, 0.5])
def test_it_is_the_same_function(name, bias_scale):
    net = PiMLP(
        5,
        3,
        rank=4,
        depth=3,
        features=RandomFeatures(11),
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


class Residual(PiMLP):
    """A user's own network of the same layers."""

    def hidden(self, x):
        g = [self.input(x)]
        for layer in self.pi_layers[:-1]:
            g.append(g[-1] + layer(g[-1]))
        return g


class Clamped(PiMLP):
    def forward(self, x):
        return super().forward(x.clamp(-2, 2))


def of_random_features(make, **options):
    return make(5, 3, rank=4, depth=3, features=RandomFeatures(11), readout_std=1.0, generator=seeded(), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [Residual, Clamped])
def test_a_network_that_does_more_than_its_layers_is_refused(make, dtype):
    with pytest.raises(ValueError, match=rf"function is that of its layers one after the other; got {make.__name__}"):
        plain(of_random_features(make, dtype=dtype))


def test_a_hook_that_changes_outputs_is_refused_and_modes_stay():
    net = of_random_features(PiMLP)
    plain(net)
    assert net.training
    net.layers[0].register_forward_hook(lambda module, inputs, output: 1.01 * output)
    with pytest.raises(ValueError, match="or a hook is in no layer"):
        plain(net)
    assert net.training and not plain(of_random_features(PiMLP).eval())[0].weight.grad_fn


def test_a_description_of_a_chain_is_one_under_any_names():
    net = zoo.perceptron(5, 3, 2, Tanh()).pi(4, RandomFeatures(11), readout_std=1.0, generator=seeded())
    x = randn(6, 5).float()
    assert_close(plain(net)(x), net(x))
