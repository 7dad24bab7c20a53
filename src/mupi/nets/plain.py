"""A finite π-net as the ordinary perceptron that it is."""

import torch
from torch import Tensor, nn

from mupi.activations import GELU, Activation, Identity, LeakyReLU, ReLU, Tanh
from mupi.checks import fail
from mupi.features import Gate, RandomWeight
from mupi.layers import DenseMatrix, PiLinear, relative_error
from mupi.layers.evaluating import evaluating
from mupi.layers.pi_layers import pi_layers

ROWS = 16
"""Random inputs of each size that outputs are compared on."""


class Coordinatewise(nn.Module):
    """φ as a module.

    Args:
        activation: The activation φ.
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
def plain(net: nn.Module) -> nn.Sequential:
    """The same function in `nn.Linear` layers of width n, for a network with `mupi.RandomFeatures` features.

    h¹ = Ω̃¹ g¹, h^{l+1} = Ω̃^{l+1} g^{l+1} = scale·Ω̃^{l+1} (C^l φ(h^l)/√n + bias_scale·β^{l+1}), and the readout as it
    is: all scales are multiplied into the weights. Training it is another training than that of ``net``.

    Args:
        net: A chain of `mupi.PiLinear` after a `mupi.DenseMatrix` called ``input``, as ``PiMLP.sample(width)`` of a
            trained limit.

    Raises:
        ValueError: If the features are others, or the network does not compute what its layers do one after the
            other, as a subclass or a hook may: outputs on random inputs are compared.
    """
    (first, *more) = [m for m in net.modules() if isinstance(m, DenseMatrix)] or [None]
    layers = [layer for layer in pi_layers(net).values() if isinstance(layer, PiLinear)]
    gates = [layer for layer in layers if isinstance(layer.weight.activation, Gate)]
    if not isinstance(first, DenseMatrix) or len(layers) < len(pi_layers(net)) or gates or more:
        must = "a chain of mupi.PiLinear after one DenseMatrix"
        fail("plain(net)", must, type(net).__name__, "other architectures are no chain of linear layers")
    weights: list[RandomWeight] = []
    for layer in layers:
        if not isinstance(layer.weight, RandomWeight):
            came = type(layer.weight).__name__
            fail("plain(net)", "a net with `RandomFeatures` features", came, "use plain(net.sample(width))")
        weights.append(layer.weight)
    scale = first.scale
    bias = None if first.bias is None else scale * first.bias_scale * first.bias
    modules: list[nn.Module] = [linear(weights[0].omega, scale * first.weight.T, bias)]
    omegas = [*(weight.omega for weight in weights[1:]), None]
    for layer, weight, omega in zip(layers, weights, omegas, strict=True):
        matrix = layer.scale * weight.weight.T / len(weight.weight) ** 0.5
        bias = None if layer.bias is None else layer.scale * layer.bias_scale * layer.bias
        assert not isinstance(weight.activation, Gate)
        modules += [activation_module(weight.activation), linear(omega, matrix, bias)]
    chain = nn.Sequential(*modules)
    _refuse_other_outputs(net, first.weight, chain)
    return chain


def _refuse_other_outputs(net: nn.Module, first: Tensor, chain: nn.Sequential) -> None:
    """Compare on inputs of several sizes, which see more of a function than those of one."""
    d_in = len(first)
    x = torch.randn(ROWS, d_in, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / d_in**0.5
    # Half of the digits are left by rounding in sums over many neurons.
    most, worst = torch.finfo(first.dtype).eps ** 0.5, 0.0
    with evaluating(net):
        for size in (1.0, 0.1, 10.0):
            rows = (size * x).to(first)
            right, got = net(rows), chain(rows)
            if size > 1 and not torch.isfinite(right).all():
                continue  # a steep activation has no number there
            error = relative_error(got, right) if right.shape == got.shape else torch.inf
            worst = error if not error <= most else worst
    if worst:
        fail(
            "plain(net)",
            "a net whose function is that of its layers one after the other",
            f"{type(net).__name__}, whose outputs on random inputs are {worst:.2g} of their size from that",
            "a changed forward pass, a residual say, or a hook is in no layer",
        )


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
