"""The finite π-net of Yang, Santacroce & Hu (2022), with its full n × n matrices and its projection written out.

Weights w¹ (n × d), w² … w^L (n × n), readout w^{L+1} (d_out × n) and biases; h¹ = α_in √n (w¹ x + α_b b¹),
h^{l+1} = √n (w^{l+1} φ(h^l)/√n + α_b b^{l+1}), f = α_out (w^{L+1} φ(h^L)/√n + α_b b^{L+1}). SGD projects the gradient
of every weight and bias except the readout's onto the span of Ω^l, by Ω(ΩᵀΩ)⁻¹Ωᵀ, and clips the projected gradient.
"""

import torch
from torch import Tensor

from mupi import PiMLP


class FiniteNet:
    """The network that a `PiMLP` with `RandomFeatures` features stands for.

    The columns of Ω^l are mixed by an arbitrary invertible matrix: only their span matters.
    """

    def __init__(self, net: PiMLP, generator: torch.Generator):
        whitened = [layer.weight.omega.double() for layer in net.layers]
        self.n = len(whitened[0])
        self.φ = net.layers[0].weight.activation
        self.input_scale, self.output_scale = net.input.scale, net.layers[-1].scale
        self.bias_scale = net.input.bias_scale
        rank = whitened[0].shape[1]
        self.omega = [w @ torch.randn(rank, rank, dtype=torch.float64, generator=generator) for w in whitened]
        bases = [w / self.n**0.5 for w in whitened]
        linear = [net.input.weight, *(layer.weight.weight for layer in net.layers)]
        biases = [net.input.bias, *(layer.bias for layer in net.layers)]
        self.weights = [q @ w.detach().double().T for q, w in zip(bases, linear[:-1], strict=True)]
        self.weights.append(linear[-1].detach().double().T.clone())
        self.biases = [q @ b.detach().double() for q, b in zip(bases, biases[:-1], strict=True)]
        self.biases.append(biases[-1].detach().double().clone())
        self.velocity: dict[int, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        root = self.n**0.5
        features, scale = x, self.input_scale * root
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = scale * (features @ w.T + self.bias_scale * b)
            features, scale = self.φ(h) / root, root
        return self.output_scale * (features @ self.weights[-1].T + self.bias_scale * self.biases[-1])

    def step(self, loss_of, rates: dict[str, float], clip: float, weight_decay: float, momentum: float) -> Tensor:
        """One step; ``weight_decay`` times the rate is the same for every parameter at ``rates['decay_rate']``."""
        parameters = [*self.weights, *self.biases]
        for p in parameters:
            p.requires_grad_()
        loss = loss_of(self)
        gradients = torch.autograd.grad(loss, parameters)
        last = len(self.weights) - 1
        for i, (p, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            layer, is_bias = i % len(self.weights), i > last
            p.requires_grad_(False)
            if layer < last:
                omega = self.omega[layer]
                gradient = omega @ torch.linalg.solve(omega.T @ omega, omega.T @ gradient)
            gradient = gradient * min(1.0, clip / (float(gradient.norm()) + 1e-6))
            kind = "bias" if is_bias else "first" if layer == 0 else "last" if layer == last else "hidden"
            v = momentum * self.velocity.get(i, 0.0) + gradient + weight_decay / rates[kind] * p
            self.velocity[i] = v
            p -= rates["lr"] * rates[kind] * v
        return loss.detach()
