"""Finite convolutional, residual and attention networks of width n with all their n × n matrices written out.

Every junction has its own Ω (n × r): weights into it start in its span, and SGD projects their gradients onto that
span. With an orthonormal basis U = Ω̃/√n of the span, a weight is w = U C, one between two junctions that follows no
nonlinearity U M U'ᵀ. Pre-activations are h = √n·(w φ(h)/√n + α_b b), of order one, under RMSNorm over channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mupi import PiCNN, PiResNet, PiTransformer
from mupi.features import whitened_gaussian


def rms_norm(h: Tensor, axis: int = 1) -> Tensor:
    """h/√(mean h²) over channels."""
    return h / h.square().mean(axis, keepdim=True).sqrt()


class Literal:
    """Named weights, the span that each is projected on, and SGD on them, clipped by their joint norm."""

    def __init__(self, net):
        self.net = net
        self.weights: dict[str, Tensor] = {}
        self.spans: dict[str, Tensor | None] = {}
        self.kinds: dict[str, str] = {}
        self.velocity: dict[str, Tensor] = {}
        self.n = len(net.readout.weight.omega)

    def basis(self, layer) -> Tensor:
        """U of the junction that a layer reads."""
        return layer.weight.omega / self.n**0.5

    def add(self, name: str, kind: str, weight: Tensor, span: Tensor | None) -> None:
        """A weight whose first axis is its output's."""
        self.weights[name] = weight.detach().clone()
        self.spans[name], self.kinds[name] = span, kind

    def add_bias(self, name: str, bias: Tensor, span: Tensor | None) -> None:
        """α_b b with b in the span."""
        self.add(name, "bias", bias if span is None else span @ bias, span)

    def add_readout(self, layer) -> None:
        """C and β, not projected."""
        self.add("readout", "last", layer.weight.weight.T, None)
        self.add_bias("readout bias", layer.bias, None)

    def read(self, h: Tensor) -> Tensor:
        """f from the pre-activations (batch, n, positions…)."""
        layer = self.net.readout
        φ = layer.weight.activation(h.movedim(1, -1)).flatten(1, -2).mean(1)
        return layer.scale * (
            φ @ self.weights["readout"].T / self.n**0.5 + layer.bias_scale * self.weights["readout bias"]
        )

    def step(self, loss_of, rates: dict[str, float], lr: float, clip: float, decay: float, momentum: float) -> Tensor:
        """One step, with lr·decay the same for every kind."""
        for w in self.weights.values():
            w.requires_grad_()
        loss = loss_of(self)
        gradients = dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values())), strict=True))
        for name, gradient in gradients.items():
            u = self.spans[name]
            if u is not None:
                gradients[name] = (u @ (u.T @ gradient.flatten(1) if gradient.ndim > 1 else u.T @ gradient)).reshape(
                    gradient.shape
                )
        norm = torch.stack([g.norm() for g in gradients.values()]).norm()
        factor = min(1.0, clip / (float(norm) + 1e-6))
        for name, w in self.weights.items():
            w.requires_grad_(False)
            rate = rates[self.kinds[name]]
            v = momentum * self.velocity.get(name, 0.0) + factor * gradients[name] + decay / rate * w
            self.velocity[name] = v
            w -= lr * rate * v
        return loss.detach()


class Convolutional(Literal):
    """What convolutional and residual networks have in common: full kernels of n × n matrices."""

    def __init__(self, net: PiCNN | PiResNet):
        super().__init__(net)
        u = self.basis(net.layers[0])
        self.add("input", "first", torch.einsum("nr,rchw->nchw", u, net.input.weight), u)
        self.add_bias("input bias", net.input.bias, u)
        for i, layer in enumerate(net.layers[:-1]):
            u, k = self.basis(net.layers[i + 1]), layer.kernel_size
            full = torch.zeros(self.n, self.n, k, k, dtype=u.dtype)
            for j, (down, right) in enumerate(layer.offsets):
                c = layer.weight.weight.T[j * layer.rank_out : (j + 1) * layer.rank_out]
                full[:, :, k // 2 + down, k // 2 + right] = u @ c
            self.add(f"conv {i}", "hidden", full, u)
            self.add_bias(f"bias {i}", layer.bias, u)
        self.add_readout(net.readout)

    def first(self, x: Tensor) -> Tensor:
        """h¹."""
        layer = self.net.input
        k = layer.weight.shape[-1]
        h = functional.conv2d(x, self.weights["input"], stride=layer.stride, padding=k // 2)
        return layer.scale * self.n**0.5 * (h + layer.bias_scale * self.weights["input bias"][:, None, None])

    def convolve(self, i: int, h: Tensor) -> Tensor:
        """The i-th convolution of φ(h), pooled if it pools."""
        layer = self.net.layers[i]
        φ = layer.weight.activation(h.movedim(1, -1)).movedim(-1, 1)
        φ = functional.avg_pool2d(φ, layer.pool.height) / self.n**0.5
        out = functional.conv2d(φ, self.weights[f"conv {i}"], padding=layer.kernel_size // 2)
        return layer.scale * self.n**0.5 * (out + layer.bias_scale * self.weights[f"bias {i}"][:, None, None])


class FiniteCNN(Convolutional):
    """The network that a `PiCNN` with `RandomFeatures` features stands for."""

    def __call__(self, x: Tensor) -> Tensor:
        h = rms_norm(self.first(x))
        for i in range(len(self.net.layers) - 1):
            h = rms_norm(self.convolve(i, h))
        return self.read(h)


class FiniteResNet(Convolutional):
    """The network that a `PiResNet` with `RandomFeatures` features stands for: one stream of n channels."""

    def __call__(self, x: Tensor) -> Tensor:
        h, i = self.first(x), 0
        for stage, number in enumerate(self.net.blocks):
            h = functional.avg_pool2d(h, 2) if stage else h
            for _ in range(number):
                h, i = h + self.convolve(i, rms_norm(h)), i + 1
        return self.read(rms_norm(h))


class FiniteTransformer(Literal):
    """The network that a `PiTransformer` on patches with `RandomFeatures` features stands for."""

    def __init__(self, net: PiTransformer, generator: torch.Generator):
        super().__init__(net)
        stream = self.basis(net.readout)
        self.add("input", "first", stream @ net.input.pixels.weight.T, stream)
        self.add("positions", "first", stream @ net.input.positions.T, stream)
        for i, (attention, matrix, layer) in enumerate(zip(net.attention, net.matrices, net.layers[:-1], strict=True)):
            size = attention.query.weight.shape[1] // attention.heads
            for head in range(attention.heads):
                columns = slice(head * size, (head + 1) * size)
                shared, own = (whitened_gaussian(self.n, size, generator) / self.n**0.5 for _ in range(2))
                for name, u in (("query", shared), ("key", shared), ("value", own)):
                    weight = getattr(attention, name).weight[:, columns]
                    self.add(f"{name} {i}.{head}", "hidden", u @ weight.T @ stream.T, u)
                self.add(f"out {i}.{head}", "hidden", stream @ attention.out.weight[columns].T @ own.T, stream)
            inner = self.basis(layer)
            self.add(f"matrix {i}", "hidden", inner @ matrix.weight.T @ stream.T, inner)
            self.add_bias(f"matrix bias {i}", matrix.bias, inner)
            self.add(f"layer {i}", "hidden", stream @ layer.weight.weight.T, stream)
            self.add_bias(f"bias {i}", layer.bias, stream)
        self.add_readout(net.readout)

    def __call__(self, x: Tensor) -> Tensor:
        net, w, root = self.net, self.weights, self.n**0.5
        size = net.tokens.size
        patches = functional.unfold(x, size, stride=size).mT  # (batch, patches, channels·size²)
        h = root * (net.input.pixels.scale * patches @ w["input"].T + w["positions"].T)
        for i, (attention, matrix, layer) in enumerate(zip(net.attention, net.matrices, net.layers[:-1], strict=True)):
            normed, mixed = rms_norm(h, -1), 0.0
            for head in range(attention.heads):
                q, k, v = (normed @ w[f"{name} {i}.{head}"].T for name in ("query", "key", "value"))
                weights = (attention.logit_scale * q @ k.mT / self.n).softmax(-1)
                mixed = mixed + weights @ v @ w[f"out {i}.{head}"].T
            h = h + attention.out.scale * mixed
            inner = rms_norm(h, -1) @ w[f"matrix {i}"].T + root * matrix.bias_scale * w[f"matrix bias {i}"]
            φ = layer.weight.activation(rms_norm(inner, -1))
            h = h + layer.scale * (φ @ w[f"layer {i}"].T + root * layer.bias_scale * w[f"bias {i}"])
        return self.read(rms_norm(h, -1).mT)


def literal(net: PiCNN | PiResNet | PiTransformer, generator: torch.Generator) -> Literal:
    """The finite network, with Ω drawn where the limit has none."""
    match net:
        case PiCNN():
            return FiniteCNN(net)
        case PiResNet():
            return FiniteResNet(net)
        case _:
            return FiniteTransformer(net, generator)
