"""`PiLinear` composes: in residual networks, after a normalisation, over positions, as a convolution."""

import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Atoms, Erf, Expansion, Hermite, PiLinear, Polynomial, RandomFeatures, ReLU

FEATURES = {"atoms": Atoms(), "hermite": Hermite(2), "subspace": Hermite(3, subspace=3), "random": RandomFeatures(16)}
QUADRATIC = Polynomial((0.2, 1.0, 0.3))


def layer(features, rank_in=5, rank_out=5, activation=QUADRATIC, seed=0, **options):
    options = dict(dtype=torch.float64, generator=seeded(seed)) | options
    return PiLinear(rank_in, rank_out, features=features, activation=activation, **options)


class Residual(nn.Module):
    """g + layer(g/|g|), twice with the same layer, then a readout of the mean over positions."""

    def __init__(self, features):
        super().__init__()
        self.block = layer(features)
        self.readout = layer(features, 5, 2, seed=1, scale=0.5)

    def forward(self, g):
        for _ in range(2):
            g = g + self.block(g / g.norm(dim=-1, keepdim=True))
        return self.readout(g.mean(-2))


class Convolution(nn.Module):
    """Sums one layer per tap over shifted positions: a convolution over a circle, then a readout at each position."""

    def __init__(self, features):
        super().__init__()
        self.taps = nn.ModuleList([layer(features, seed=i, bias=i == 0) for i in range(3)])
        self.readout = layer(features, 5, 2, seed=5)

    def forward(self, g):
        return self.readout(sum(tap(g.roll(i - 1, dims=-2)) for i, tap in enumerate(self.taps)))


class Attention(nn.Module):
    """Positions mix by a softmax of inner products of junctions: weights depend on g twice."""

    def __init__(self, features):
        super().__init__()
        self.value = layer(features)
        self.readout = layer(features, 5, 2, seed=1)

    def forward(self, g):
        weights = torch.softmax(g @ g.mT / 5, -1)
        return self.readout(g + weights @ self.value(g)).mean(-2)


NETWORKS = [Residual, Convolution, Attention]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_users_network_trains_alike_in_the_limit_and_at_constant_memory(network):
    # The activation has degree 2: `Hermite(2)` is exact, whatever surrounds the layers.
    nets = [network(features) for features in (Atoms(), Hermite(2))]
    optimizers = [mupi.SGD(net.parameters(), lr=0.05, clip=0.2, momentum=0.5, weight_decay=0.01) for net in nets]
    start = nets[0](randn(3, 4, 5, seed=50)).detach()
    for step in range(5):
        for net, optimizer in zip(nets, optimizers, strict=True):
            (net(randn(3, 4, 5, seed=step)) - 1).square().mean().backward()
            optimizer.step()
    x = randn(3, 4, 5, seed=50)
    assert (nets[0](x) - start).norm() > 0.01 * start.norm()
    assert_close(nets[1](x), nets[0](x), rtol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", FEATURES)
def test_input_gradients_of_a_users_network_are_right(network, name):
    net = network(FEATURES[name]).eval()
    assert torch.autograd.gradcheck(net, (randn(2, 3, 5, seed=3).requires_grad_(),))


@pytest.mark.parametrize("name", FEATURES)
def test_positions_share_the_weight(name):
    net, g = layer(FEATURES[name]).eval(), randn(2, 3, 4, 5)
    assert net(g).shape == (2, 3, 4, 5)
    assert_close(net(g)[1, 2, 3], net(g[1, 2, 3]))
    assert_close(net(g.movedim(2, 0)), net(g).movedim(2, 0))


def test_each_position_appends_an_atom():
    net = layer(Atoms())
    optimizer = mupi.SGD(net.parameters(), lr=0.1)
    net(randn(2, 3, 4, 5)).sum().backward()
    optimizer.step()
    assert net.weight.num_atoms == 5 + 24


@pytest.mark.parametrize("name", FEATURES)
def test_scale_and_bias_scale_multiply(name):
    plain, g = layer(FEATURES[name], bias=False).eval(), randn(4, 5)
    scaled = layer(FEATURES[name], scale=3.0, bias_scale=0.5).eval()
    with torch.no_grad():
        scaled.bias.copy_(torch.arange(5.0))
    assert_close(scaled(g), 3 * (plain(g) + 0.5 * torch.arange(5.0, dtype=torch.float64)))


def test_the_scale_is_in_the_atoms_and_in_the_norm():
    # α multiplies the output, so the gradient that clipping sees is α times as long.
    norms = []
    for scale in (1.0, 3.0):
        net = layer(Atoms(), scale=scale, bias=False)
        net(randn(4, 5)).sum().backward()
        norms.append(mupi.optim.gradient_norm(net.weight.atoms))
    assert_close(norms[1], 3 * norms[0])


@pytest.mark.parametrize("name", FEATURES)
def test_without_a_bias_there_is_none(name):
    assert layer(FEATURES[name], bias=False).bias is None
    assert layer(FEATURES[name], bias_scale=0.0).bias is None


def test_a_callable_will_do_as_activation():
    net, g = layer(Hermite(3), activation=torch.tanh), randn(4, 5)
    assert_close(net(g), layer(Hermite(3), activation=mupi.Quadrature(torch.tanh))(g))


@pytest.mark.parametrize("name", ["atoms", "hermite", "random"])
def test_initial_atoms_decide_the_function(name):
    initial = Expansion(randn(7), randn(7, 5, seed=1), randn(7, 5, seed=2))
    net = layer(FEATURES[name], initial=initial)
    g = randn(4, 5)
    expected = net.weight.kernel(g, initial.b) @ (initial.c[:, None] * initial.a)
    assert_close(net(g), expected)


def test_initial_atoms_are_converted_to_the_dtype():
    initial = Expansion(randn(7), randn(7, 5, seed=1), randn(7, 5, seed=2))
    assert layer(Atoms(), initial=initial, dtype=torch.float32).weight.expansion().a.dtype == torch.float32
    single = PiLinear(5, 5, features=Atoms(), activation=ReLU(), initial=initial)
    assert single.weight.expansion().b.dtype == torch.get_default_dtype()


@pytest.mark.parametrize("name", FEATURES)
def test_one_layer_may_serve_in_two_networks(name):
    shared = layer(FEATURES[name])
    first, second = nn.Sequential(shared, layer(FEATURES[name], seed=1)), nn.Sequential(shared)
    optimizer = mupi.SGD([*first.parameters()], lr=0.1)
    before = second.eval()(randn(3, 5)).detach()
    first.train()(randn(3, 5)).square().sum().backward()
    optimizer.step()
    assert (second.eval()(randn(3, 5)) - before).abs().max() > 1e-4


def test_relu_layers_are_positively_homogeneous():
    net, g = layer(Atoms(), activation=ReLU(), bias=False), randn(4, 5)
    assert_close(net(7 * g), 7 * net(g))


@pytest.mark.parametrize("features", [Atoms(), Hermite(3)], ids=str)
def test_an_odd_activation_gives_an_odd_layer(features):
    net, g = layer(features, activation=Erf(), bias=False), randn(4, 5)
    assert_close(net(-g), -net(g))


@pytest.mark.parametrize("name", FEATURES)
def test_the_printed_form_names_ranks_and_activation(name):
    text = repr(layer(FEATURES[name], 5, 4))
    assert "rank_in=5, rank_out=4" in text and "Polynomial" in text


def test_activations_may_differ_between_layers():
    net = nn.Sequential(layer(Atoms(), activation=ReLU()), layer(Atoms(), activation=Erf(), seed=1))
    g = randn(4, 5)
    assert_equal(net(g), net[1](net[0](g)))
