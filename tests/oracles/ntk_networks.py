"""Textbook networks of width n in NTK parametrization, written in plain PyTorch: σ_w W x/√fan_in + σ_b b throughout.

What they have as kernels: the covariance of the output given all but the readout, and the sum over all parameters of
products of derivatives. Both fluctuate by 1/√n around the limit.
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

SIGMA_W, SIGMA_B = 1.3, 0.4


class Net:
    """Parameters by name, drawn when they are first asked for; ``features`` makes what the readout reads."""

    def __init__(self, features: Callable[["Net", Tensor], Tensor], n: int, seed: int):
        self.features, self.n = features, n
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters: dict[str, Tensor] = {}

    def parameter(self, name: str, *shape: int, value: float | None = None) -> Tensor:
        if name not in self.parameters:
            drawn = torch.randn(*shape, dtype=torch.float64, generator=self.generator)
            self.parameters[name] = drawn if value is None else torch.full(shape, value, dtype=torch.float64)
        return self.parameters[name]

    def dense(self, name: str, x: Tensor, out: int, bias: bool = True) -> Tensor:
        h = SIGMA_W * x @ self.parameter(f"{name}.weight", out, x.shape[-1]).T / sqrt(x.shape[-1])
        return h + SIGMA_B * self.parameter(f"{name}.bias", out) if bias else h

    def conv(self, name: str, x: Tensor, size: tuple[int, ...], stride=1, padding=0, circular: bool = False) -> Tensor:
        """Channels first."""
        w = self.parameter(f"{name}.weight", self.n, x.shape[1], *size)
        b = self.parameter(f"{name}.bias", self.n)
        if circular:
            x, padding = functional.pad(x, (padding, padding), mode="circular"), 0
        h = (functional.conv1d if len(size) == 1 else functional.conv2d)(x, w, stride=stride, padding=padding)
        return SIGMA_W * h / sqrt(w[0].numel()) + SIGMA_B * b.reshape(-1, *(1,) * len(size))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """Over the last axis, with a gain and a shift that learn."""
        gain = self.parameter(f"{name}.gain", x.shape[-1], value=1.0)
        shift = self.parameter(f"{name}.shift", x.shape[-1], value=0.0)
        x = x - x.mean(-1, keepdim=True)
        return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() + shift

    def attention(self, name: str, x: Tensor, heads: int, causal: bool = False) -> Tensor:
        """With logits q·k/d."""
        n, length = x.shape[-1], x.shape[-2]
        q, k, v = (
            self.dense(f"{name}.{part}", x, n, False).unflatten(-1, (heads, n // heads)).transpose(-2, -3)
            for part in "qkv"
        )
        logits = q @ k.transpose(-1, -2) / (n // heads)
        if causal:
            logits = logits.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
        return self.dense(f"{name}.out", (logits.softmax(-1) @ v).transpose(-2, -3).flatten(-2), n, False)

    def __call__(self, x: Tensor) -> Tensor:
        return self.dense("readout", self.features(self, x), 1)[..., 0]

    def nngp(self, x: Tensor) -> Tensor:
        """The covariance of outputs given the features; of features (samples, positions, n) between all pairs."""
        with torch.no_grad():
            features = self.features(self, x).flatten(0, -2)
        return SIGMA_W**2 * features @ features.T / features.shape[1] + SIGMA_B**2

    def ntk(self, x: Tensor) -> Tensor:
        """Σ over all parameters; the rate of a bias b is 1, so σ_b² as it is added."""
        self(x)
        names, parameters = list(self.parameters), {k: v.clone() for k, v in self.parameters.items()}

        def outputs(values: dict[str, Tensor]) -> Tensor:
            self.parameters = values
            return self(x).flatten()

        jacobian = torch.func.jacrev(outputs)(parameters)
        self.parameters = parameters
        return sum((j := jacobian[name].flatten(1)) @ j.T for name in names)  # pyright: ignore


def residual_perceptron(net: Net, x: Tensor) -> Tensor:
    """Pre-norm blocks, LayerNorm with gains and shifts."""
    h = net.dense("embed", x, net.n)
    for i in range(2):
        u = torch.relu(net.layer_norm(f"norm{i}", h))
        h = h + 0.7 * net.dense(f"branch{i}", u, net.n)
    return torch.relu(net.layer_norm("last", h))


def post_activation(net: Net, x: Tensor) -> Tensor:
    """x + φ(W x), LayerNorm of it, and a readout: sums of a Gaussian and a φ, normalized with their mean."""
    h = net.dense("embed", x, net.n)
    y = h + torch.relu(net.dense("branch", h, net.n))
    return net.layer_norm("last", y)


def strided_cnn(net: Net, x: Tensor) -> Tensor:
    """Rectangular kernels and images, strides, zeros around; the readout sees all positions."""
    h = net.conv("one", x, (3, 2), stride=(2, 1), padding=(1, 1))
    h = net.conv("two", torch.relu(h), (2, 3), stride=(1, 2), padding=(0, 1))
    return torch.relu(h).flatten(1)


def pooled_cnn(net: Net, x: Tensor) -> Tensor:
    """Averages of blocks, also of those that overlap, in the middle, and the mean at the end."""
    h = functional.avg_pool2d(torch.erf(net.conv("one", x, (3, 3), padding=1)), (2, 2), stride=(1, 2))
    h = torch.erf(net.conv("two", h, (2, 2)))
    return h.mean((2, 3))


def skip_pool(net: Net, x: Tensor) -> Tensor:
    """h + (the mean of h over positions), which are correlated."""
    h = net.conv("one", x, (2,))
    h = h + h.mean(-1, keepdim=True)
    return torch.relu(h).flatten(1)


def circular(net: Net, x: Tensor) -> Tensor:
    """Over one axis that goes around."""
    h = torch.relu(net.conv("one", x, (3,), padding=1, circular=True))
    h = torch.relu(net.conv("two", h, (2,), stride=2, padding=1, circular=True))
    return h.mean(-1)


def vit(net: Net, x: Tensor) -> Tensor:
    """Patches, a class token, positions, a block of attention and a perceptron, and the class token's readout."""
    h = net.conv("patches", x, (2, 2), stride=2).flatten(2).transpose(1, 2)
    token = SIGMA_W * net.parameter("class", 1, net.n).expand(len(x), 1, net.n)
    h = torch.cat([token, h], 1)
    h = h + SIGMA_W * net.parameter("positions", h.shape[1], net.n)
    h = h + net.attention("attention", net.layer_norm("norm1", h), 1)
    u = torch.erf(net.dense("up", net.layer_norm("norm2", h), 2 * net.n))
    h = h + net.dense("down", u, net.n)
    return net.layer_norm("last", h)[:, 0]


def gpt(net: Net, x: Tensor) -> Tensor:
    """Tokens, causal attention, and a readout at each position."""
    table = SIGMA_W * net.parameter("tokens", 5, net.n)
    h = table[x] + SIGMA_W * net.parameter("positions", x.shape[1], net.n)
    h = h + net.attention("attention", net.layer_norm("norm1", h), 2, causal=True)
    return net.layer_norm("last", h)


def swiglu(net: Net, x: Tensor) -> Tensor:
    """x + W (SiLU(V N x)·U N x)."""
    h = net.dense("embed", x, net.n)
    u = net.layer_norm("norm", h)
    gated = functional.silu(net.dense("up", u, 2 * net.n)) * net.dense("gate", u, 2 * net.n)
    return h + net.dense("down", gated, net.n)


def recurrent(net: Net, x: Tensor) -> Tensor:
    """The same weights at each step of a sequence of vectors."""
    h = net.dense("in", x[:, 0], net.n)
    for t in range(1, x.shape[1]):
        h = net.dense("again", torch.erf(h), net.n) + net.dense("in", x[:, t], net.n)
    return torch.erf(h)
