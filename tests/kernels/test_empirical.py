"""Kernels of finite networks: against a loop of backward passes, and their convergence to NTK and NNGP."""

import pytest
import torch
from torch import nn

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import Abs, Activation, Erf, ReLU
from mupi.kernels import NNGP, NTK, EmpiricalNNGP, EmpiricalNTK

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
    """Θ by one backward pass for each sample and output."""

    def gradients(x):
        return [
            [torch.autograd.grad(o, list(net.parameters()), retain_graph=True) for o in net(row[None])[0]] for row in x
        ]

    names = [name for name, _ in net.named_parameters()]
    total = torch.zeros(len(x1), len(x2), dtype=x1.dtype)
    for i, first in enumerate(gradients(x1)):
        for j, second in enumerate(gradients(x2)):
            for a, b in zip(first, second, strict=True):
                pairs = zip(names, a, b, strict=True)
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
    with pytest.raises(RuntimeError):
        kernel.features(randn(5, 4))
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
