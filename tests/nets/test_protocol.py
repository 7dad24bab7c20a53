"""What every network answers has one meaning: `hidden`, `features`, `feature_kernel`, `readout`, `parameter_groups`."""

import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Atoms, AveragedReadout, Erf, Hermite, Patches, PiConv2d, PiLinear, RandomFeatures, ReLU, Tokens
from mupi.layers.pi_layers import found_junctions, pi_layers
from mupi.nets import MuCNN, Network, PiNetwork

SHAPE, RANK, WIDTH = (2, 4, 4), 4, 16


def like():
    return dict(generator=seeded(), dtype=torch.float64)


def cnn(kind, size, **options):
    shape = dict(pools=(2,)) if kind is not mupi.PiResNet else dict(blocks=(1, 2))
    return kind(SHAPE, 3, size, input_kernel=3, input_stride=1, **shape, **like(), **options)


def π_nets(features):
    layer = dict(features=features, readout_std=0.5)
    return {
        "PiMLP": mupi.PiMLP(32, 3, RANK, 3, activation=ReLU(), **layer, **like()),
        "PiCNN": cnn(mupi.PiCNN, RANK, activation=ReLU(), **layer),
        "PiResNet": cnn(mupi.PiResNet, RANK, **layer),
        "PiTransformer": mupi.PiTransformer(Patches(SHAPE, 2), 3, RANK, 2, heads=2, **layer, **like()),
        "Residual": Residual(features),
    }


class Residual(PiNetwork):
    """A network of one's own: two branches on one stream, and one readout of the average over positions."""

    def __init__(self, features):
        super().__init__()
        layer = dict(features=features, activation=Erf(), **like())
        self.input = mupi.DenseMatrix(8, RANK, **like())
        self.branches = nn.ModuleList([PiLinear(RANK, RANK, **layer), PiConv2d(RANK, RANK, 3, **layer)])
        self.matrix = mupi.DenseMatrix(RANK, RANK, **like())
        self.inner = PiLinear(RANK, RANK, **layer)
        self.readout = AveragedReadout(RANK, 3, init_std=0.5, **layer)

    def forward(self, x):
        g = self.input(x.unflatten(1, (-1, 8))).unflatten(1, (2, 2))
        for branch in self.branches:
            g = g + branch(mupi.normalize(g))
        return self.readout(g + self.inner(mupi.normalize(self.matrix(g))))


class Plain(nn.Module):
    """The modules of a `Residual` in one that is no `PiNetwork`."""

    def __init__(self, features):
        super().__init__()
        for name, module in Residual(features).named_children():
            self.add_module(name, module)

    forward = Residual.forward


NETS = {
    f"{name}-{label}": (lambda name=name, features=features: π_nets(features)[name])
    for label, features in dict(limit=Atoms(), hermite=Hermite(2), finite=RandomFeatures(WIDTH)).items()
    for name in ("PiMLP", "PiCNN", "PiResNet", "PiTransformer", "Residual")
}
NETS["MLP"] = lambda: mupi.MLP(32, 3, WIDTH, 2, bias_scale=0.5, **like())
NETS["MuCNN"] = lambda: cnn(MuCNN, WIDTH)
NETS["LinearMuLimit"] = lambda: mupi.LinearMuLimit(32, 3, bias_scale=0.5, dtype=torch.float64)


@pytest.fixture(params=NETS)
def net(request) -> Network:
    made = NETS[request.param]().eval()
    with torch.no_grad():  # so that no output is 0 and no bias is without effect
        for i, p in enumerate(made.parameters()):
            if type(p) is nn.Parameter:
                p.add_(0.1 * randn(*p.shape, seed=i))
    return made


X1, X2 = randn(5, 32), randn(3, 32, seed=1)


def test_the_readout_is_a_module_from_the_last_hidden_layer_to_the_outputs(net):
    hidden = net.hidden(X1)
    assert isinstance(net.readout, nn.Module)
    assert_close(net.readout(hidden[-1]), net(X1))
    assert {id(p) for p in net.readout.parameters()} < {id(p) for p in net.parameters()}


def test_hidden_layers_are_what_activations_are_applied_to_channels_last(net):
    size = {None: net.readout.width}.get(net.readout.rank, net.readout.rank)
    if isinstance(net, mupi.LinearMuLimit):
        size = 35
    for h in net.hidden(X1):
        assert len(h) == len(X1) and h.shape[-1] == size
    if isinstance(net, MuCNN):
        assert [h.shape[1:3] for h in net.hidden(X1)] == [(4, 4), (2, 2)]
        φ = torch.nn.functional.avg_pool2d(net.activation(net.hidden(X1)[0]).permute(0, 3, 1, 2), 2)
        before = torch.nn.functional.conv2d(φ, net.hidden_weights[0], padding=1).permute(0, 2, 3, 1)
        normalized = torch.nn.functional.normalize(before + 4 * 0.5 * net.biases[1], dim=-1)
        assert_close(4 * normalized, net.hidden(X1)[1])
    if isinstance(net, PiNetwork) and type(net) is not Residual:
        assert len(net.pi_layers) == len(net.hidden(X1))


def test_the_feature_kernel_is_that_of_features_computed_once(net):
    f1, f2 = net.features(X1), net.features(X2)
    kernel = net.feature_kernel(X1, X2)
    assert kernel.shape == (5, 3)
    assert_equal(net.readout.kernel(f1, f2), kernel)
    assert_close(net.readout.kernel(f1.flatten(1), f2.flatten(1)), kernel)
    assert_close(net.readout.diagonal(f1), net.feature_kernel(X1, X1).diagonal())
    if net.readout.width is not None:
        assert f1.ndim == 2
        assert_close(f1 @ f2.T, kernel)
    else:
        assert_equal(f1, net.hidden(X1)[-1])


def test_features_are_what_the_linear_map_of_the_readout_reads(net):
    """Its outputs are linear in them: of more images than features, the best linear function of these is exact."""
    if net.readout.width is None:
        pytest.skip("they stand for infinitely many")
    x = randn(60, 32, seed=2)
    f, out = net.features(x).detach(), net(x).detach()
    affine = torch.cat([f, torch.ones(60, 1, dtype=torch.float64)], 1)
    assert_close(affine @ torch.linalg.lstsq(affine, out, driver="gelsd").solution, out, rtol=1e-8)


def test_learning_rates_are_named_alike_and_every_parameter_has_one(net):
    rates = dict(lr=2.0, first=0.5, last=4.0, bias=0.25, weight_decay=0.1)
    for groups in (net.parameter_groups(**rates), mupi.parameter_groups(net, **rates)):
        grouped = [id(p) for group in groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in net.parameters())
        by_name = {group["name"]: group for group in groups}
        factor = dict(first=0.5, hidden=1.0, last=4.0, bias=0.25)
        for name, group in by_name.items():
            assert group["lr"] == pytest.approx(2 * factor[name])
            assert group["lr"] * group["weight_decay"] == pytest.approx(2 * 0.1)
        read = {id(p) for p in net.readout.parameters()}
        assert {id(p) for p in by_name["last"]["params"]} <= read
        assert read <= {id(p) for name in ("last", "bias") for p in by_name[name]["params"]}


@pytest.mark.parametrize("name", ["PiMLP", "PiCNN", "PiResNet", "PiTransformer"])
def test_the_junctions_that_a_network_says_are_those_that_are_found(name):
    net = π_nets(Hermite(2))[name]
    names = {id(layer): path for path, layer in pi_layers(net).items()}
    assert found_junctions(net, X1) == [[names[id(layer)] for layer in layers] for layers in net.junctions]


def test_of_a_causal_network_features_and_kernel_are_those_of_each_position():
    for features in (Hermite(2), RandomFeatures(WIDTH)):
        net = mupi.PiTransformer(Tokens(5, 6), 3, RANK, 1, heads=2, features=features, readout_std=0.5, **like())
        x1, x2 = torch.tensor([[0, 1, 2], [3, 1, 4]]), torch.tensor([[2, 2, 1, 0]])
        kernel = net.feature_kernel(x1, x2)
        assert kernel.shape == (2, 3, 1, 4)
        g1, g2 = (net.hidden(x)[-1].flatten(0, 1) for x in (x1, x2))
        assert_close(kernel.flatten(2).flatten(0, 1), net.readout.weight.feature_kernel(g1, g2))
        assert_close(net.readout(net.hidden(x1)[-1]), net(x1))


def test_leading_axes_of_a_perceptron_are_all_the_batch():
    for net in (π_nets(Hermite(2))["PiMLP"], π_nets(RandomFeatures(WIDTH))["PiMLP"], NETS["MLP"]()):
        x = randn(2, 3, 32)
        assert_close(net(x), torch.stack([net(part) for part in x]))
        assert_close(net.feature_kernel(x, X1), torch.stack([net.feature_kernel(part, X1) for part in x]))


FREE = {
    "feature_kernel": lambda net: mupi.feature_kernel(net, X1, X2),
    "error_report": lambda net: [(e.output, e.gradient, e.atoms) for e in mupi.error_report(net, X1)],
    "num_atoms": lambda net: mupi.num_atoms(net),
    "sample": lambda net: mupi.sample(net, WIDTH, x=X1, generator=seeded(3))(X1),
    "parameter_groups": lambda net: [
        (group["name"], group["lr"], [p.shape for p in group["params"]])
        for group in mupi.parameter_groups(net, 0.1, first=0.5, last=2.0, bias=0.25, weight_decay=0.1)
    ],
}


@pytest.mark.parametrize("what", FREE)
def test_a_module_that_is_none_of_ours_answers_as_a_network_of_ours_does(what):
    """By what its layers are called and how they are used, and no more."""
    own, plain = Residual(Hermite(2)), Plain(Hermite(2))
    assert not isinstance(plain, Network)
    one, other = FREE[what](own), FREE[what](plain)
    assert one == other if not isinstance(one, torch.Tensor) else torch.equal(one, other)
    if what == "error_report":
        assert [e.layer for e in mupi.error_report(plain, X1)] == ["branches.0", "branches.1", "inner", "readout"]
    if what == "feature_kernel":
        assert_equal(own.feature_kernel(X1, X2), one)


class Perceptron(nn.Module):
    """`PiMLP` written by a user."""

    def __init__(self, net):
        super().__init__()
        self.input, self.middle, self.then, self.readout = net.input, *net.layers

    def forward(self, x):
        return self.readout(self.then(self.middle(self.input(x))))


@pytest.mark.parametrize("what", FREE)
def test_a_perceptron_of_ones_own_is_ours(what):
    ours = π_nets(Hermite(2))["PiMLP"]
    one, other = FREE[what](ours), FREE[what](Perceptron(ours))
    assert one == other if not isinstance(one, torch.Tensor) else torch.equal(one, other)


def test_layers_that_read_one_stream_share_their_omega_whoever_wrote_the_network():
    net = Residual(Hermite(2)).sample(WIDTH, seeded(), X1)
    first, second = (branch.weight.omega for branch in net.branches)
    assert_equal(first, second)
    assert_equal(first, net.readout.weight.omega)
    assert not torch.equal(first, net.inner.weight.omega), "another junction"


class TwoHeads(nn.Module):
    """Layers that read the same junction by different ways: of an input, of a table, of a product."""

    def __init__(self):
        super().__init__()
        layer = dict(features=Hermite(2), activation=ReLU(), **like())
        self.table = nn.Embedding(5, RANK, dtype=torch.float64)
        self.place = nn.Parameter(randn(3, RANK))
        self.a, self.b, self.alone = (PiLinear(RANK, RANK, **layer) for _ in range(3))
        self.readout = PiLinear(RANK, 2, **layer)
        self.norm = nn.LayerNorm(RANK, elementwise_affine=False, dtype=torch.float64)

    def forward(self, tokens):
        g = self.table(tokens) + self.place
        h = self.alone(self.a(g) + self.b(self.norm(g)))
        return self.readout(h)


def test_junctions_are_found_through_tables_and_normalizations_and_on_integers():
    net, x = TwoHeads(), torch.tensor([[0, 1, 2]])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert found_junctions(net, x) == [["a", "b"], ["alone"], ["readout"]]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    net.table.requires_grad_(False)
    assert found_junctions(net, x) == [["a", "b"], ["alone"], ["readout"]], "frozen weights too"
    assert not net.table.weight.requires_grad
    assert mupi.feature_kernel(net, x, x).shape == (1, 3, 1, 3)


def test_a_sample_of_ones_own_network_approaches_it():
    net = Residual(Hermite(2))
    exact, errors = net(X1).detach(), []
    for width in (2**6, 2**12):
        samples = [net.sample(width, seeded(s), X1)(X1).detach() for s in range(6)]
        errors.append(torch.stack(samples).sub(exact).square().mean().sqrt())
    assert errors[1] < errors[0] / 4  # 1/8 in expectation


@pytest.mark.parametrize("ask", [lambda net: mupi.error_report(net, X1), lambda net: mupi.sample(net, WIDTH, X1)])
def test_modes_and_states_of_all_modules_are_left_alone(ask):
    net = Residual(Hermite(2))
    net.branches[0].eval()
    modes = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ask(net)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


class Nameless(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.first = PiLinear(32, 2, features=Hermite(2), activation=ReLU(), **like())
        if last is not None:
            self.readout = last

    def forward(self, x):
        return self.first(x)


class Pooling(Nameless):
    def forward(self, x):
        return self.readout(x[:, :, None, None].expand(-1, -1, 1, 2), mupi.features.AveragePool(32, 1))


def linear(rank=2, kind=PiLinear):
    return kind(rank, 1, features=Hermite(2), activation=ReLU(), **like())


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda: mupi.feature_kernel(Nameless(), X1, X1), "`Nameless.readout` must be its last layer.*nothing of that"),
        (lambda: mupi.feature_kernel(Nameless(nn.Linear(2, 1)), X1, X1), "mupi.PiLinear or .*; got Linear"),
        (lambda: mupi.feature_kernel(Nameless(linear()), X1, X1), "used once in a forward pass; got 0 uses"),
        (lambda: mupi.feature_kernel(Pooling(linear()), X1, X1), "mupi.AveragedReadout, where it averages"),
        (lambda: mupi.parameter_groups(Nameless(), 0.1, first=0.5), r"groups\(first=...\)` must be 1.*`input`"),
        (lambda: mupi.parameter_groups(Nameless(), 0.1, last=4.0), r"groups\(last=...\)` must be 1.*`readout`"),
        (lambda: mupi.parameter_groups(nn.Linear(2, 2), 0.1), "a module of mupi.PiLinear, or .*; got Linear"),
        (lambda: mupi.parameter_groups(Nameless(), -1.0), "finite number ≥ 0; got -1"),
        (lambda: mupi.parameter_groups(Nameless(), 0.1, rates=mupi.Parametrization.mup(2).sgd_rates), "rates"),
        (lambda: mupi.parameter_groups(NETS["MuCNN"](), 0.1, rates=mupi.Parametrization.mup(4).sgd_rates), "3 wei"),
        (lambda: mupi.sample(Nameless(), 40), r"`sample\(x=...\)` must be a batch of inputs"),
        (lambda: mupi.sample(Nameless(linear()), 40, X1), "all π-layers are used; got `readout` unused"),
        (lambda: mupi.sample(nn.Linear(2, 2), 40, X1), "`Linear` must be made of mupi.PiLinear"),
        (lambda: mupi.sample(Nameless(), 31, X1), "at least the rank 32; got 31"),
        (lambda: mupi.error_report(Nameless(linear()), X1), "uses all its π-layers; got `readout` unused"),
        (lambda: mupi.num_atoms(nn.Linear(2, 2)), "`Linear` must be made of mupi.PiLinear"),
        (lambda: linear(4, AveragedReadout)(randn(4)), "batch"),
        (lambda: linear(4, AveragedReadout).kernel(randn(2, 6), randn(2, 4)), r"of shape \(n, \*positions, 4\)"),
        (lambda: linear(4, AveragedReadout)(randn(2, 4), mupi.features.AveragePool(1)), "averages over all positions"),
    ],
)  # fmt: skip
def test_what_a_module_does_not_say_is_asked_for_in_one_line(ask, words):
    with pytest.raises(ValueError, match=words) as refusal:
        ask()
    assert "\n" not in str(refusal.value)
