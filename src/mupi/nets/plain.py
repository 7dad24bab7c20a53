"""A finite π-net as the ordinary perceptron that it is."""

import torch
from torch import Tensor, nn

from mupi.activations import GELU, Activation, Identity, LeakyReLU, ReLU, Tanh
from mupi.checks import fail
from mupi.features import RandomWeight
from mupi.nets.pi_mlp import PiMLP


class Coordinatewise(nn.Module):
    """φ as a module.

    Args:
        activation: φ.
    """

    def __init__(self, activation: Activation):
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """φ(x)."""
        return self.activation(x)


def activation_module(activation: Activation) -> nn.Module:
    """φ as PyTorch's own module, where it has one."""
    match activation:
        case ReLU():
            return nn.ReLU()
        case LeakyReLU():
            return nn.LeakyReLU(activation.slope)
        case GELU():
            return nn.GELU()
        case Tanh():
            return nn.Tanh()
        case Identity():
            return nn.Identity()
        case _:
            return Coordinatewise(activation)


@torch.no_grad()
def plain(net: PiMLP) -> nn.Sequential:
    """The same function in `nn.Linear` layers of width n, for a network with `mupi.Random` features.

    h¹ = Ω̃¹ g¹, h^{l+1} = Ω̃^{l+1} g^{l+1} = scale·Ω̃^{l+1} (C^l φ(h^l)/√n + bias_scale·β^{l+1}), and the readout as it
    is: all scales are multiplied into the weights. Training it is another training than that of ``net``.

    Args:
        net: For example ``PiMLP.sample(width)`` of a trained limit.

    Raises:
        ValueError: If the features are others.
    """
    weights: list[RandomWeight] = []
    for layer in net.pi_layers:
        if not isinstance(layer.weight, RandomWeight):
            came = type(layer.weight).__name__
            fail("plain(net)", "a net with `Random` features", came, "use plain(net.sample(width))")
        weights.append(layer.weight)
    scale = net.input.scale
    bias = None if net.input.bias is None else scale * net.input.bias_scale * net.input.bias
    modules: list[nn.Module] = [linear(weights[0].omega, scale * net.input.weight.T, bias)]
    omegas = [*(weight.omega for weight in weights[1:]), None]
    for layer, weight, omega in zip(net.pi_layers, weights, omegas, strict=True):
        matrix = layer.scale * weight.weight.T / len(weight.weight) ** 0.5
        bias = None if layer.bias is None else layer.scale * layer.bias_scale * layer.bias
        modules += [activation_module(weight.activation), linear(omega, matrix, bias)]
    return nn.Sequential(*modules)


def linear(omega: Tensor | None, matrix: Tensor, bias: Tensor | None) -> nn.Linear:
    """x ↦ Ω̃ (matrix x + bias), without Ω̃ if it is None."""
    if omega is not None:
        matrix = omega @ matrix
        bias = None if bias is None else omega @ bias
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias is not None, device=matrix.device, dtype=matrix.dtype)
    layer.weight.copy_(matrix)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer
