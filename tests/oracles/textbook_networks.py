"""Networks as textbooks have them, written by hand with all their n × n matrices, beside `Architecture.pi` of them.

Of a π-network with `RandomFeatures` a `Textbook` takes the numbers, by the names of its parameters, and writes them
out: the weight from φ of a junction with N neurons to one with N' is w = U' C (N' × N), U' = Ω̃'/√N' with orthonormal
columns, and pre-activations are h' = √N'·(w φ(h)/√N + α b); one that reads h itself is w = U' Mᵀ Uᵀ. SGD projects each
gradient onto the span of the junction that the weight writes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mupi.features import whitened_gaussian
from oracles.finite_architectures import Literal, rms_norm


class Textbook(Literal):
    """Weights with their spans; subclasses say their junctions and write the forward pass."""

    def __init__(self, net, generator: torch.Generator):
        self.net, self.generator = net, generator
        self.weights, self.spans, self.kinds, self.velocity = {}, {}, {}, {}
        self.write()

    def write(self) -> None:
        """Take the numbers over."""
        raise NotImplementedError

    def module(self, name: str):
        """Of the π-network."""
        return self.net.get_submodule(name)

    def read_by(self, name: str) -> Tensor:
        """U of the junction that a π-layer reads."""
        omega = self.module(name).weight.omega
        return omega / len(omega) ** 0.5

    def drawn(self, n: int, rank: int) -> Tensor:
        """U of a junction that no π-layer reads."""
        return whitened_gaussian(n, rank, self.generator) / n**0.5

    def bias(self, name: str, layer, u: Tensor | None) -> None:
        """α b, if there is one."""
        if layer.bias is not None:
            self.add_bias(f"{name} bias", layer.bias, u)

    def first(self, name: str, u: Tensor) -> None:
        """A matrix or kernel that reads data; r is the first axis of kernels, the last of matrices."""
        layer = self.module(name)
        kernel = layer.weight if layer.weight.ndim == 4 else layer.weight.T
        self.add(name, "first", torch.tensordot(u, kernel, 1), u)
        self.bias(name, layer, u)

    def matrix(self, name: str, u_in: Tensor, u: Tensor) -> None:
        """A weight that reads h."""
        layer = self.module(name)
        if layer.weight.ndim == 4:
            full = torch.einsum("nr,rshw,ms->nmhw", u, layer.weight, u_in)
        else:
            full = u @ layer.weight.T @ u_in.T
        self.add(name, "hidden", full, u)
        self.bias(name, layer, u)

    def hidden(self, name: str, u: Tensor) -> None:
        """A weight that reads φ(h)."""
        layer = self.module(name)
        c = layer.weight.weight.T  # (offsets·r', N)
        if hasattr(layer, "grid"):
            rows, columns = layer.grid.size
            c = c.reshape(rows, columns, -1, c.shape[1]).flip(0, 1).permute(2, 3, 0, 1)
        self.add(name, "hidden", torch.tensordot(u, c, 1), u)
        self.bias(name, layer, u)

    def last(self, name: str) -> None:
        """The readout, not projected."""
        layer = self.module(name)
        c = layer.weight.weight.T
        if hasattr(layer, "grid"):
            rows, columns = layer.grid.size
            c = c.reshape(rows, columns, -1, c.shape[1]).flip(0, 1).permute(2, 3, 0, 1)
        self.add(name, "last", c, None)
        self.bias(name, layer, None)

    def vector(self, name: str, value: Tensor, u: Tensor) -> None:
        """One number or vector of the span."""
        self.add(name, "bias", u @ value.reshape(u.shape[1]), u)

    def looked_up(self, name: str) -> Tensor:
        """Columns of a table, with the multiplier of input weights."""
        return self.net.conventions()["input_scale"] * len(self.weights[name]) ** 0.5 * self.weights[name]

    # What the forward passes are written with; channels are the first axis of images, the last of sequences.

    def conv(self, name: str, x: Tensor, n_in: int = 1, **options) -> Tensor:
        """√N'·(w ∗ x/√N + α b)·scale, with zeros or what is at the other end around."""
        layer, w = self.module(name), self.weights[name]
        if options.pop("circular", False):
            (down, right), options["padding"] = options["padding"], 0
            x = functional.pad(x, (right, right, down, down), mode="circular")
        out = functional.conv2d(x / n_in**0.5, w, **options)
        if f"{name} bias" in self.weights:
            out = out + layer.bias_scale * self.weights[f"{name} bias"][:, None, None]
        return layer.scale * (out if self.kinds[name] == "last" else len(w) ** 0.5 * out)

    def dense(self, name: str, x: Tensor, n_in: int = 1) -> Tensor:
        """The same of vectors."""
        layer, w = self.module(name), self.weights[name]
        out = x @ w.T / n_in**0.5
        if f"{name} bias" in self.weights:
            out = out + layer.bias_scale * self.weights[f"{name} bias"]
        return layer.scale * (out if self.kinds[name] == "last" else len(w) ** 0.5 * out)


class Convolutions(Textbook):
    """Two kernels of different sides, strides and paddings, averages of pairs, a third kernel; weights per position."""

    def write(self) -> None:
        self.first("a", self.read_by("b"))
        self.hidden("b", self.read_by("c"))
        self.hidden("c", self.read_by("out"))
        self.last("out")

    def __call__(self, x: Tensor) -> Tensor:
        φ, n = self.module("b").weight.activation, len(self.weights["a"])
        h = self.conv("a", x, stride=(2, 1), padding=(1, 0))
        h = self.conv("b", φ(h), n, stride=(1, 2), padding=(1, 0), circular=True)
        h = self.conv("c", functional.avg_pool2d(φ(h), (1, 2)), 2 * n)
        return self.conv("out", φ(h), n).flatten(1)


class Residual(Textbook):
    """A pre-activation residual network: a strided block with a projection on its way around, one without; gains."""

    def write(self) -> None:
        first, second, inner = self.read_by("conv1"), self.read_by("out"), self.read_by("conv2")
        n = len(first)
        ones = torch.full((n, 1), n**-0.5, dtype=torch.float64)
        self.first("stem", first)
        self.vector("gain1", self.module("norm1").gain, ones)
        self.vector("shift1", self.module("norm1").shift, first)
        self.matrix("around", first, second)
        self.hidden("conv1", inner)
        self.hidden("conv2", second)
        self.hidden("conv3", second)
        self.last("out")

    def norm(self, h: Tensor, name: str, eps: float) -> Tensor:
        """RMSNorm over channels, with γ = √n v and β = √n α b."""
        h = h / (h.square().mean(1, keepdim=True) + eps).sqrt()
        if f"gain{name}" in self.weights:
            root, α = h.shape[1] ** 0.5, self.module(f"norm{name}").bias_scale
            γ, β = (self.weights[f"{kind}{name}"][:, None, None] * root for kind in ("gain", "shift"))
            h = γ * h + α * β
        return h

    def __call__(self, x: Tensor) -> Tensor:
        φ, n = self.module("conv1").weight.activation, len(self.weights["stem"])
        h = self.conv("stem", x, padding=1)
        normed = φ(self.norm(h, "1", 0.1))
        inner = self.conv("conv1", normed, n, stride=2, padding=1)
        branch = self.conv("conv2", φ(self.norm(inner, "2", 0.0)), n, padding=1)
        h = self.conv("around", h, n, stride=2) + branch
        h = h + self.conv("conv3", φ(self.norm(h, "3", 0.0)), n, padding=1)
        φ_mean = φ(self.norm(h, "4", 0.0)).mean((2, 3))
        return self.dense("out", φ_mean, n)


class Sequence(Textbook):
    """A transformer of one block with 1/d attention: what leads to the stream, and from it, subclasses say."""

    heads = 2

    def write_block(self, stream: Tensor, inner: Tensor) -> None:
        """Attention with a span for each head; queries and keys share it. Then a perceptron."""
        n, rank = len(stream), self.module("block.value").weight.shape[1] // self.heads
        for head in range(self.heads):
            columns = slice(head * rank, (head + 1) * rank)
            shared, own = self.drawn(n // self.heads, rank), self.drawn(n // self.heads, rank)
            for name, u in (("query", shared), ("key", shared), ("value", own)):
                m = self.module(f"block.{name}").weight[:, columns]
                self.add(f"{name}{head}", "hidden", u @ m.T @ stream.T, u)
            self.add(f"out{head}", "hidden", stream @ self.module("block.out").weight[columns].T @ own.T, stream)
        self.matrix("block.up", stream, inner)
        self.hidden("block.down", stream)

    def attend(self, h: Tensor, causal: bool) -> Tensor:
        """Σ_heads, with logits c·q·k/d."""
        n, mixed = h.shape[-1], 0.0
        d, factor = n // self.heads, self.net.get_submodule("attention_1").logit_scale
        normed = rms_norm(h, -1)
        for head in range(self.heads):
            q, k, v = (d**0.5 * normed @ self.weights[f"{name}{head}"].T / n**0.5 for name in ("query", "key", "value"))
            logits = factor * q @ k.mT / d
            if causal:
                logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).triu(1), -torch.inf)
            mixed = mixed + n**0.5 * (logits.softmax(-1) @ v) @ self.weights[f"out{head}"].T / d**0.5
        return self.module("block.out").scale * mixed


class Vision(Sequence):
    """Patches, a class token that is read out, embeddings of positions."""

    def write(self) -> None:
        stream, inner = self.read_by("out"), self.read_by("block.down")
        self.first("patches", stream)
        for name in ("token", "positions"):
            self.add(name, "first", stream @ getattr(self.net, name).T, stream)
        self.write_block(stream, inner)
        self.last("out")

    def __call__(self, x: Tensor) -> Tensor:
        φ, n = self.module("out").weight.activation, len(self.weights["patches"])
        patches = self.conv("patches", x, stride=2).flatten(2).mT
        token, positions = (self.looked_up(name).mT for name in ("token", "positions"))
        h = torch.cat([token.expand(len(x), 1, n), patches], 1) + positions
        h = h + self.attend(h, False)
        up = self.dense("block.up", rms_norm(h, -1), n)
        h = h + self.dense("block.down", φ(up), up.shape[-1])
        return self.dense("out", φ(rms_norm(h, -1)[:, 0]), n)


class Gated(Sequence):
    """Tokens, causal attention, a gated perceptron twice as wide, and logits that read the stream without a φ."""

    def write(self) -> None:
        gate = self.module("block.down").weight
        n = len(gate.omega) // 2
        up, other = (gate.omega[:, : gate.activation.rank], gate.omega[:, gate.activation.rank :])
        up, other = up / len(up) ** 0.5, other / len(other) ** 0.5
        stream = self.drawn(n, self.net.tokens.shape[1])
        self.add("tokens", "first", stream @ self.net.tokens.T, stream)
        self.add("positions", "first", stream @ self.net.positions.T, stream)
        self.write_block(stream, up)
        self.matrix("block.gate", stream, other)
        # The readout reads Ω̃ g/√n: n numbers for each logit, of which the limit keeps those in the span.
        self.add("out", "last", self.module("out").weight.weight.T @ stream.T, None)

    def __call__(self, x: Tensor) -> Tensor:
        gate, n = self.module("block.down").weight.activation, self.weights["tokens"].shape[0]
        h = self.looked_up("tokens").T[x] + self.looked_up("positions").T
        h = h + self.attend(h, True)
        normed = rms_norm(h, -1)
        up, other = self.dense("block.up", normed, n), self.dense("block.gate", normed, n)
        h = h + self.dense("block.down", gate.first(up) * gate.second(other), up.shape[-1])
        return self.module("out").scale * rms_norm(h, -1) @ self.weights["out"].T / n**0.5
