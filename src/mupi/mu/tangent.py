"""The program of a perceptron's training in the kernel regime: kernels once, then gradient descent with them."""

from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.mu.descent import Forward, Loss, TrainedPerceptron
from mupi.programs.vectors import Scalar, Vector, apply, mean


class TangentPerceptron(TrainedPerceptron):
    """The lines of a perceptron whose features stay as they were at the start (Jacot et al. 2018; Yang & Hu 2021).

    f_t(x) = Θ(x, X) A_t with A_{t+1} = A_t − η χ_t and the tangent kernel Θ = Σ_l E δ^l δ'^l E φ(h^{l−1})φ(h'^{l−1}),
    over those weights whose update reaches the limit (xᵀx' in place of the second factor for l = 1, 1 in place of
    the first for the readout). f_0 = 0: the loss takes the network's output less that at the start, which is random in
    the limit of NTP, a Gaussian process; χ is the loss's gradient there. Every step takes the same inputs X.
    """

    X: Float[Tensor, "batch d"] | None = None

    def forward(self, x: Float[Tensor, "batch d"]) -> Forward:
        """Write the lines of f on new inputs."""
        at = super().forward(x)
        if self.X is None:
            return Forward(at.h, at.z, 0.0 * at.f)
        tangent = self._kernel((x, at.z, self._gradients(at)), (self.X, self.at.z, self.δ))
        return Forward(at.h, at.z, tangent @ self.A)

    def step(self, x: Float[Tensor, "batch d"], y: Tensor, loss: Loss) -> Forward:
        """Write the lines of a step; returns the forward pass."""
        if self.X is None:
            self.X, self.at = x.clone(), super().forward(x)  # a copy: the same tensor may hold other inputs later
            self.δ = self._gradients(self.at)
            self.Θ = self._kernel(*[(x, self.at.z, self.δ)] * 2)
            self.A: Scalar = 0.0 * self.at.f
            self.momentum: Scalar = self.A
        elif not torch.equal(x, self.X):
            fail("step(x)", "the inputs of the first step, in the kernel regime", "others")
        f = self.Θ @ self.A
        χ = apply(torch.func.grad(loss), f, y, name="∂loss")
        self.momentum = self.descent.momentum * self.momentum + χ
        self.A = self.A - self.descent.lr * self.momentum
        return Forward(self.at.h, self.at.z, f)

    @property
    def state(self) -> list:
        """The lines from which the next step goes on."""
        return super().state if self.X is None else [*super().state, *self.at.z, *self.δ]

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
        return self.backward(at, copies)

    def _kernel(self, one: tuple, other: tuple) -> Scalar:
        """Θ between two sets of inputs, given with their features and gradients."""
        (x, z, δ), (x2, z2, δ2) = one, other
        first, *hidden, last = self.descent.weights
        terms = [mean(δ[0], δ2[0]) * (x @ x2.T)] if first else []
        terms += [mean(δ[i], δ2[i]) * mean(z[i - 1], z2[i - 1]) for i, on in enumerate(hidden, 1) if on]
        terms += [mean(z[-1], z2[-1])] if last else []
        return reduce(add, terms)
