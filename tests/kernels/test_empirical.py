"""Kernels of finite networks: against a loop of backward passes, and their convergence to NTK and NNGP."""

import re

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import nn

import mupi
from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import Abs, Activation, Erf, ReLU
from mupi.kernels import NNGP, NTK, EmpiricalNNGP, EmpiricalNTK, Linearized
from mupi.layers import Center

SIGMA_W, SIGMA_B = 1.3, 0.4


class Layer(nn.Module):
    """σ_w W x/√fan_in + σ_b b with standard normal entries."""

    def __init__(self, fan_in, fan_out, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(fan_out, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return SIGMA_W * x @ self.weight.T / x.shape[-1] ** 0.5 + SIGMA_B * self.bias


class Net(nn.Module):
    """A perceptron in NTK parametrization."""

    def __init__(self, d, width, depth, outputs, activation, seed):
        super().__init__()
        self.activation: Activation = activation
        sizes = [d] + [width] * depth + [outputs]
        generator = seeded(seed)
        self.layers = nn.ModuleList(Layer(a, b, generator) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def by_backward_passes(net, x1, x2, lr):
    """Θ by one backward pass for each sample and output, over all entries of the Jacobian."""
    parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}

    def gradients(x):
        return [
            [
                torch.autograd.grad(o, list(parameters.values()), retain_graph=True, materialize_grads=True)
                for o in net(row[None]).flatten()
            ]
            for row in x
        ]

    total, others = torch.zeros(len(x1), len(x2), dtype=torch.float64), gradients(x2)
    for i, first in enumerate(gradients(x1)):
        for j, second in enumerate(others):
            for a, b in zip(first, second, strict=True):
                pairs = zip(parameters, a, b, strict=True)
                total[i, j] += sum(lr.get(n, 1.0) * float((p * q).sum()) for n, p, q in pairs) / len(first)
    return total


@pytest.mark.parametrize("block", [1, 2, 32])
def test_empirical_ntk_is_the_sum_over_backward_passes(block):
    net, x, y = Net(3, 8, 2, 2, Erf(), 0), randn(5, 3), randn(3, 3, seed=1)
    lr = {"layers.0.weight": 0.3, "layers.2.bias": 2.0}
    assert_close(EmpiricalNTK(net, lr, block)(x, y), by_backward_passes(net, x, y, lr))
    assert_close(EmpiricalNTK(net, lr, block)(x), by_backward_passes(net, x, x, lr))


def test_the_kernel_of_a_linear_layer_is_the_inner_product():
    x = randn(4, 3)
    layer = nn.Linear(3, 5).double()
    assert_close(EmpiricalNTK(layer)(x), x @ x.T + 1)
    layer.bias.requires_grad_(False)
    assert_close(EmpiricalNTK(layer)(x), x @ x.T)


class Shaped(nn.Module):
    """A network whose outputs have another shape than (batch, k)."""

    def __init__(self, net, shape):
        super().__init__()
        self.net, self.shape = net, shape

    def forward(self, x):
        return self.net(x).reshape(len(x), *self.shape)


class Tied(nn.Module):
    """Two layers that share their weight, a frozen bias, and a parameter without use."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Language(nn.Module):
    """Tokens (batch, length) to logits (batch, length, words), the embedding tied to the readout."""

    def __init__(self, words=5, width=4):
        super().__init__()
        self.embedding, self.readout = nn.Embedding(words, width), nn.Linear(width, words, bias=False)
        self.readout.weight = self.embedding.weight
        self.mix = nn.Linear(width, width)

    def forward(self, tokens):
        g = self.embedding(tokens)
        return self.readout(torch.tanh(self.mix(g + g.mean(1, keepdim=True))))


def dense(*outputs):
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, *outputs))


TOKENS = torch.randint(5, (4, 3), generator=seeded())
NETWORKS = {
    "one number": (lambda: Shaped(dense(1), ()), randn(4, 3)),
    "one column": (lambda: dense(1), randn(4, 3)),
    "a matrix": (lambda: Shaped(dense(6), (2, 3)), randn(4, 3)),
    "a scalar sample": (lambda: nn.Sequential(nn.Unflatten(0, (-1, 1)), nn.Linear(1, 4), nn.Tanh()), randn(4)),
    "tokens": (Language, TOKENS),
    "one token": (lambda: nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Linear(3, 2)), TOKENS[:, 0]),
    "bag of tokens": (lambda: nn.Sequential(nn.EmbeddingBag(5, 3), nn.Linear(3, 2)), TOKENS),
    "int32 tokens": (Language, TOKENS[:2].int()),
    "images": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)),
        randn(3, 2, 4, 4),
    ),
    "tied, frozen and unused": (Tied, randn(4, 3)),
    "batch statistics kept": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Tanh(), nn.Linear(4, 2)).eval(),
        randn(4, 3),
    ),
    "reparametrised": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))), randn(4, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(), randn(3, 2, 4)),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's, where vmap goes sample by sample
@pytest.mark.parametrize("name", NETWORKS)
def test_every_shape_of_samples_and_outputs_is_that_of_the_jacobians(name):
    make, x = NETWORKS[name]
    torch.manual_seed(0)
    net = make().double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_var.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    kernel = EmpiricalNTK(net, block=3)
    expected = by_backward_passes(net, x, x, {})
    assert_close(kernel(x), expected)
    assert_close(kernel(x, x[:2]), expected[:, :2])
    assert_close(kernel(x.numpy()), expected)
    for a, b in ((x[:0], x[:2]), (x, x[:0]), (x[:0], x[:0])):
        assert kernel(a, b).shape == (len(a), len(b)) and kernel(a, b).dtype == torch.float64
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


def test_learning_rates_go_with_the_shared_parameter():
    torch.manual_seed(0)
    net, x, lr = Tied().double(), randn(3, 3), {"first.weight": 0.3, "second.bias": 2.0, "unused": 5.0}
    assert_close(EmpiricalNTK(net, lr)(x), by_backward_passes(net, x, x, lr))


class FunctionalNorm(nn.Module):
    """Batch statistics that no module's type tells of."""

    def forward(self, x):
        return (x - x.mean(0)).tanh()


class FunctionalDropout(nn.Module):
    """Draws that no module's type tells of."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


def layered(*middle):
    return nn.Sequential(nn.Linear(3, 4), *middle, nn.Linear(4, 2)).double()


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("net", "message"),
    [
        (layered(nn.BatchNorm1d(4)), "got BatchNorm1d '1' in training mode; call net.eval()"),
        (
            layered(nn.BatchNorm1d(4, track_running_stats=False)).eval(),
            "got BatchNorm1d '1' without running statistics",
        ),
        (layered(nn.Dropout(0.1)), "got Dropout '1' in training mode; call net.eval()"),
        (layered(FunctionalNorm()), "with other samples beside; call net.eval()"),
        (layered(FunctionalNorm()).eval(), "with other samples beside"),
        (layered(FunctionalDropout()), "with the same samples; call net.eval()"),
        (layered(Center(4)), "with other samples beside; call net.eval()"),
    ],
)
def test_networks_that_mix_samples_or_draw_are_refused(net, message, rows):
    x = randn(rows, 3)
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    for kernel in (EmpiricalNTK(net), EmpiricalNNGP(net, net[-1])):
        with pytest.raises(ValueError) as error:
            kernel(x)
        start = f"`{type(kernel).__name__}(net=...)` must be a network that takes each sample by itself; got "
        assert str(error.value).startswith(start) and message in str(error.value)
    assert all(torch.equal(buffers[name], b) for name, b in net.named_buffers())
    harmless = layered(nn.Dropout(0.0), nn.LayerNorm(4))  # neither mixes nor draws
    assert EmpiricalNTK(harmless)(x).shape == EmpiricalNNGP(harmless, harmless[-1])(x).shape == (rows, rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EmpiricalNTK(nn.LSTM(3, 2).double())(randn(4, 3)), "got tuple"),
        (lambda: EmpiricalNTK(nn.Flatten(0))(randn(4, 3)), "got one whose parameters are all frozen"),
        (lambda: EmpiricalNTK(nn.Linear(3, 2))(randn(4, 3)), "`EmpiricalNTK(x)` must be samples that net takes"),
        (lambda: EmpiricalNTK(Language())(TOKENS.double()), "got torch.float64 of shape (4, 3); the network says"),
        (lambda: EmpiricalNTK(Language())(TOKENS + 9), "IndexError: index out of range"),
        (lambda: EmpiricalNTK(dense(1).double())(randn(4, 3), randn(4, 2)), "(m, …) with samples as of x1, (3,)"),
        (lambda: EmpiricalNTK(dense(1).double())(randn(4, 3) / 0), "`EmpiricalNTK(x1)` must be finite"),
        (lambda: EmpiricalNTK(dense(1).double())(torch.ones(())), "`EmpiricalNTK(x1)` must be a tensor or an array"),
        (lambda: EmpiricalNTK(Shaped(dense(2), (2, 1)).double(), {"net.0.bias": -1.0}), "must be a finite number"),
        (lambda: EmpiricalNTK(nn.Sequential(dense(1), nn.Flatten(0), nn.Unflatten(0, (1, -1))).double())(X),
         "a network with one floating output, here of shape (3, …); got torch.float64 of shape (1, 3)"),
        (lambda: EmpiricalNTK(mupi.PiMLP(3, 2, 4, features=mupi.Atoms())).operator(torch.ones(2, 3)),
         "`EmpiricalNTK.operator` must be asked for of a network of matrices; got mupi.Atoms, whose weights have no"),
        (lambda: EmpiricalNTK(nn.Linear(3, 2), [{"params": []}]), "rates by name, or parameter groups with"),
        (lambda: nngp_of(Language(), "readout")(TOKENS), "takes one matrix, here (4, n), once in a forward pass"),
        (lambda: nngp_of(Twice(), "layer")(torch.ones(2, 3)), "got 2 calls with shapes [[(2, 3)], [(2, 3)]]"),
        (lambda: nngp_of(Never(), "layer")(torch.ones(2, 3)), "got 0 calls with shapes []"),
    ],
)  # fmt: skip
def test_what_has_no_kernel_is_refused_in_one_line(call, message, unchecked):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return x


class Twice(Never):
    def forward(self, x):
        return self.layer(self.layer(x))


X = randn(4, 3)


def nngp_of(net, name):
    return EmpiricalNNGP(net, getattr(net, name))


def test_features_of_tokens_of_one_output_and_of_no_rows():
    torch.manual_seed(0)
    net = nn.Sequential(nn.EmbeddingBag(5, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)).double()
    kernel, h = EmpiricalNNGP(net, net[2]), net[1](net[0](TOKENS))
    assert_close(kernel(TOKENS), h @ h.T / 3)
    assert_close(kernel(TOKENS.numpy()), h @ h.T / 3)
    net = nn.Sequential(dense(2), nn.Flatten(0)).double()
    assert EmpiricalNNGP(net, net[0][2])(randn(0, 3)).shape == (0, 0)


def test_a_network_with_buffers_and_no_rows_will_do():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.ReLU(), nn.Linear(4, 1)).double()
    assert EmpiricalNTK(net)(randn(2, 3)).shape == (2, 2)
    assert EmpiricalNTK(net)(randn(0, 3), randn(2, 3)).shape == (0, 2)


@pytest.mark.parametrize("activation", [ReLU(), Erf(), Abs()], ids=repr)
def test_finite_kernels_tend_to_their_limits_with_slope_minus_one_half(activation):
    depth, widths, seeds, x = 2, [2**k for k in range(5, 10)], 12, randn(4, 3)
    ω, β = (0.5, 2.0, 0.7), (1.5, 0.5, 3.0)
    lr = {f"layers.{i}.{name}": v[i] for i in range(3) for name, v in (("weight", ω), ("bias", β))}
    ntk = NTK(depth, activation, SIGMA_W, SIGMA_B, weight_lr=ω, bias_lr=[b * SIGMA_B**2 for b in β])(x)
    nngp = NNGP(depth, activation, SIGMA_W, SIGMA_B)(x)
    errors = {"ntk": [], "nngp": []}
    for width in widths:
        nets = [Net(3, width, depth, 1, activation, seed) for seed in range(seeds)]
        tangents = [EmpiricalNTK(net, lr)(x) for net in nets]
        features = [EmpiricalNNGP(net, net.layers[-1])(x).detach() for net in nets]
        errors["ntk"].append(root_mean_square([float((t - ntk).norm()) for t in tangents]))
        errors["nngp"].append(root_mean_square([float((SIGMA_W**2 * f + SIGMA_B**2 - nngp).norm()) for f in features]))
    for name, values in errors.items():
        assert -0.6 < fitted_slope(widths, values) < -0.4, (name, values)


def test_features_are_the_readouts_input_and_differentiable():
    net, x = Net(3, 8, 2, 1, Erf(), 0), randn(5, 3)
    kernel = EmpiricalNNGP(net, net.layers[-1])
    hidden = net.activation(net.layers[1](net.activation(net.layers[0](x))))
    assert_close(kernel.features(x), hidden)
    assert_close(kernel(x, x[:2]), hidden @ hidden[:2].T / 8)
    assert kernel(x).requires_grad


def test_the_hook_on_the_network_is_removed():
    net, x = Net(3, 8, 2, 1, Erf(), 0), randn(5, 3)
    kernel = EmpiricalNNGP(net, net.layers[-1])
    kernel(x)
    with pytest.raises(ValueError):
        kernel.features(randn(5, 4))
    with pytest.raises(ValueError):
        nngp_of(Twice(), "layer")(torch.ones(2, 3))
    assert not net.layers[-1]._forward_pre_hooks


def test_wrong_arguments_are_named():
    net = nn.Linear(3, 1)
    with pytest.raises(
        ValueError, match=r"`EmpiricalNTK\(lr=...\)` must be given for names among \['bias', 'weight'\]"
    ):
        EmpiricalNTK(net, {"wieght": 2.0})
    with pytest.raises(ValueError, match=r"`EmpiricalNTK\(block=...\)` must be an integer ≥ 1; got 0"):
        EmpiricalNTK(net, block=0)
    with pytest.raises(ValueError, match=r"`EmpiricalNNGP\(readout=...\)` must be a submodule of net; got ReLU"):
        EmpiricalNNGP(net, nn.ReLU())


def all_pairs(net, x1, x2, lr):
    """Θ between all outputs, by Jacobians."""
    parameters = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}

    def jacobians(x):
        return torch.func.jacrev(lambda p: torch.func.functional_call(net, p, (x,)).flatten(1))(parameters)

    first, second = jacobians(x1), jacobians(x2)
    products = (lr.get(n, 1.0) * torch.tensordot(first[n].flatten(2), second[n].flatten(2), ([2], [2])) for n in first)
    return sum(products)


@pytest.mark.parametrize("block", [1, 3, 32])
def test_all_pairs_of_outputs_and_each_by_itself_are_those_of_jacobians(block):
    net, x, y = Net(3, 8, 2, 2, Erf(), 0), randn(5, 3), randn(3, 3, seed=1)
    lr = {"layers.0.weight": 0.3, "layers.2.bias": 2.0}
    kernel, right = EmpiricalNTK(net, lr, block), all_pairs(net, x, y, lr)
    assert_close(kernel.full(x, y), right)
    assert_close(kernel.by_output(x, y), right.diagonal(dim1=1, dim2=3).permute(2, 0, 1))
    assert_close(kernel.by_output(x, y).mean(0), kernel(x, y))
    assert kernel.full(x[:0], y).shape == (0, 0, 3, 0)


@pytest.mark.parametrize("block", [2, 32])
def test_products_without_the_matrix_are_those_with_it(block):
    net, x = Net(3, 8, 2, 2, Erf(), 0), randn(5, 3)
    kernel = EmpiricalNTK(net, {"layers.0.weight": 0.3}, block)
    operator, matrix = kernel.operator(x), kernel.full(x).reshape(10, 10)
    assert operator.shape == (10, 10)
    v = randn(10, 4, seed=2)
    assert_close(torch.from_numpy(operator @ v.numpy()), matrix @ v)
    top = scipy.sparse.linalg.eigsh(operator, k=2, return_eigenvectors=False, v0=v[:, 0].numpy())
    assert_close(torch.from_numpy(np.sort(top)), torch.linalg.eigvalsh(matrix)[-2:], rtol=1e-9)


def test_tokens_with_an_output_at_each_position_and_scalar_outputs_have_kernels():
    language = Language().double()
    assert_close(EmpiricalNTK(language).full(TOKENS), all_pairs(language, TOKENS, TOKENS, {}))
    scalar = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)).double()
    x = randn(4, 3)
    assert_close(EmpiricalNTK(scalar).full(x)[:, 0, :, 0], x @ x.T + 1)


def test_a_linearized_network_trains_as_its_kernel_says():
    net, x, y, new = Net(3, 8, 2, 2, Erf(), 0), randn(6, 3), randn(6, 2, seed=1), randn(3, 3, seed=2)
    linear = Linearized(net)
    assert_close(linear(x), net(x))
    optimizer = torch.optim.SGD(linear.net.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        ((linear(x) - y).square().sum() / (2 * len(x))).backward()
        optimizer.step()
    kernel = EmpiricalNTK(net).full(torch.cat([x, new])).detach().reshape(18, 18)
    f = net(torch.cat([x, new])).detach().reshape(18)
    for _ in range(20):
        f = f - 0.1 / 6 * kernel[:, :12] @ (f[:12] - y.reshape(12))
    assert_close(linear(new), f[12:].reshape(3, 2), rtol=1e-11)
    assert_close(EmpiricalNTK(linear)(new), EmpiricalNTK(net)(new))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap over a gradient of `unfold`
def test_the_tangent_kernel_of_a_limit_in_training_is_that_of_its_small_steps():
    net = mupi.PiMLP(3, 2, 8, 2, activation=mupi.Polynomial([0, 1, 0.5]), generator=seeded(0), dtype=torch.float64)
    x, y = randn(6, 3) / 3, randn(6, 2, seed=1)
    optimizer = mupi.SGD(net.parameter_groups(lr=0.01))
    for _ in range(5):
        optimizer.zero_grad()
        ((net(x) - y).square().sum() / 12).backward()
        optimizer.step()
    kernel, before = EmpiricalNTK(net).full(x).reshape(12, 12), net(x).detach()
    optimizer.zero_grad()
    ((net(x) - y).square().sum() / 2).backward()
    for group in optimizer.param_groups:
        group["lr"] = 1e-6
    optimizer.step()
    change = (net(x) - before).detach().reshape(12) / 1e-6
    assert_close(change, -kernel @ (before - y).reshape(12), rtol=1e-4)
