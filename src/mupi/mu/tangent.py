"""The program of a perceptron's training in the kernel regime: kernels once, then gradient descent with them."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation
from mupi.checks import fail
from mupi.mu.losses import Loss
from mupi.programs.matrices import Matrix
from mupi.programs.program import Program
from mupi.programs.slopes import slope
from mupi.programs.vectors import Scalar, Vector, apply, mean


@dataclass(frozen=True)
class Forward:
    """One pass.

    Attributes:
        h: h^1 … h^L, a column an input.
        z: Activations φ(h^1), …, φ(h^L).
        f: Outputs (batch, d_out).
    """

    h: list[Vector]
    z: list[Vector]
    f: Scalar

    @property
    def features(self) -> Vector:
        """What the readout reads."""
        return self.z[-1]


class TangentPerceptron:
    """The lines of a perceptron whose features stay as they were at the start (Jacot et al. 2018; Yang & Hu 2021).

    f_t(x) = Θ(x, X) A_t with A_{t+1} = A_t − η χ_t and the tangent kernel Θ = Σ_l E δ^l δ'^l E φ(h^{l−1})φ(h'^{l−1}),
    over those weights whose update reaches the limit (xᵀx' in place of the second factor for l = 1, 1 in place of
    the first for the readout). f_0 = 0: the loss takes the network's output less that at the start, which is random in
    the limit of NTP, a Gaussian process; χ is the loss's gradient there. Every step takes the same inputs X.

    Args:
        d: Input dimension.
        d_out: Output dimension.
        depth: Number L of hidden layers.
        activation: The activation φ.
        stds: σ_1, σ_w, σ_{L+1}: of the entries of U, of √n W^l, of V.
        lr: Learning rate η.
        momentum: Momentum μ.
        moving: For W^1 … W^{L+1}, whether its update reaches the limit.
    """

    def __init__(
        self,
        d: int,
        d_out: int,
        depth: int,
        activation: Activation,
        stds: tuple[float, float, float],
        lr: float,
        momentum: float,
        moving: tuple[bool, ...],
    ):
        self.program = Program()
        self.activation, self.lr, self.μ, self.moving = activation, lr, momentum, moving
        first, hidden, last = stds
        self.U: Vector = self.program.vector("U", first**2 * torch.eye(d, dtype=torch.float64))
        self.W: list[Matrix] = [self.program.matrix(f"W{layer}", hidden) for layer in range(2, depth + 1)]
        self.V: Vector = self.program.vector("V", last**2 * torch.eye(d_out, dtype=torch.float64))

    X: Float[Tensor, "batch d"] | None = None

    def forward(self, x: Float[Tensor, "batch d"]) -> Forward:
        """Write the lines of f on new inputs."""
        at = self._pass(x)
        if self.X is None:
            return Forward(at.h, at.z, 0.0 * at.f)
        tangent = self._kernel((x, at.z, self._gradients(at)), (self.X, self.at.z, self.δ))
        return Forward(at.h, at.z, tangent @ self.A)

    def step(self, x: Float[Tensor, "batch d"], y: Tensor, loss: Loss) -> Forward:
        """Write the lines of a step; returns the forward pass."""
        if self.X is None:
            self.X, self.at = x.clone(), self._pass(x)  # a copy: the same tensor may hold other inputs later
            self.δ = self._gradients(self.at)
            self.Θ = self._kernel(*[(x, self.at.z, self.δ)] * 2)
            self.A: Scalar = 0.0 * self.at.f
            self.momentum: Scalar = self.A
        elif not torch.equal(x, self.X):
            fail("step(x)", "the inputs of the first step, in the kernel regime", "others")
        f = self.Θ @ self.A
        χ = apply(torch.func.grad(loss), f, y, name="∂loss")
        self.momentum = self.μ * self.momentum + χ
        self.A = self.A - self.lr * self.momentum
        return Forward(self.at.h, self.at.z, f)

    @property
    def state(self) -> list:
        """The lines from which the next step goes on."""
        weights = [self.U, *self.W, self.V]
        return weights if self.X is None else [*weights, *self.at.z, *self.δ]

    def mark(self) -> Any:
        """What `go_back` takes."""
        kept = {name: vars(self)[name] for name in ("X", "at", "δ", "Θ", "A", "momentum") if name in vars(self)}
        return len(self.program.lines), kept

    def go_back(self, mark: Any) -> None:
        """To lines and coefficients as they were."""
        count, kept = mark
        self.program.forget(count)
        for name in ("X", "at", "δ", "Θ", "A", "momentum"):
            vars(self).pop(name, None)
        vars(self).update(kept)

    def _gradients(self, at: Forward) -> list[Vector]:
        """n ∂f/∂h^l of one output; of the others they are independent copies, equal in law."""
        copies = self.V[0] @ torch.ones(1, at.h[0].columns, dtype=torch.float64)
        return self._backward(at, copies)

    def _kernel(self, one: tuple, other: tuple) -> Scalar:
        """Θ between two sets of inputs, given with their features and gradients."""
        (x, z, δ), (x2, z2, δ2) = one, other
        first, *hidden, last = self.moving
        terms = [mean(δ[0], δ2[0]) * (x @ x2.T)] if first else []
        terms += [mean(δ[i], δ2[i]) * mean(z[i - 1], z2[i - 1]) for i, on in enumerate(hidden, 1) if on]
        terms += [mean(z[-1], z2[-1])] if last else []
        return reduce(add, terms)

    def _pass(self, x: Float[Tensor, "batch d"]) -> Forward:
        """Write the lines of a forward pass of the network as it starts."""
        h = [self.U @ x.T]
        z = [apply(self.activation, h[0], name="φ")]
        for W in self.W:
            h.append(W @ z[-1])
            z.append(apply(self.activation, h[-1], name="φ"))
        return Forward(h, z, mean(self.V, z[-1]).T)

    def _backward(self, at: Forward, V: Vector) -> list[Vector]:
        """Write the lines of δ^1 … δ^L, from n ∂loss/∂φ(h^L)."""
        δ = []
        for layer in reversed(range(len(at.h))):
            δ.insert(0, apply(slope(self.activation), at.h[layer], name="φ'") * V)
            if layer:
                V = self.W[layer - 1].T @ δ[0]
        return δ
