"""The program of a perceptron's training: forward, backward and SGD, line by line."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation
from mupi.checks import fail
from mupi.parametrization import Parametrization
from mupi.programs.matrices import Matrix, outer
from mupi.programs.program import Program
from mupi.programs.slopes import slope
from mupi.programs.vectors import Scalar, Vector, apply, mean

Loss = Callable[[Float[Tensor, "batch d_out"], Tensor], Float[Tensor, ""]]


@dataclass(frozen=True)
class Descent:
    """SGD: v ← momentum·v + gradient + weight_decay·w, w ← w − lr·v.

    Attributes:
        lr: Learning rate η.
        momentum: Momentum μ.
        weight_decay: Weight decay λ.
        weights: For W^1 … W^{L+1}, whether its update reaches the limit.
    """

    lr: float
    momentum: float
    weight_decay: float
    weights: tuple[bool, ...]


def reaching(p: Parametrization) -> tuple[bool, ...]:
    """For W^1 … W^{L+1}, whether its update moves f by Θ(1) as n → ∞, of a stable parametrization.

    Where features are learned, that of W^l with r_l = 0, and of a maximally updated readout. In the kernel regime,
    where the initial readout, Θ(n^{−(a+b)}), takes a change Θ(n^{−s}) of h^L to one of f of Θ(n^{1−(a+b)−s}): that with
    s = 1 − (a+b) for s = a_{L+1} + b_{L+1} + c − 1 + 2a_l + 1(l = 1).
    """
    *_, readout = p.maximally_updated
    if p.learns_features:
        return p.maximally_updated
    sizes = [p.initial_readout + p.c - 1 + 2 * a + (layer == 0) for layer, a in enumerate(p.a[:-1])]
    return (*(s == 1 - p.initial_readout for s in sizes), readout)


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


def squared_distance(f: Float[Tensor, "batch d_out"], y: Float[Tensor, "batch d_out"]) -> Float[Tensor, ""]:
    """Mean over the batch of |f − y|²."""
    return (f - y).square().sum(1).mean()


def check_loss(argument: str, loss: Loss, y: Tensor, outputs: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Raise ``ValueError`` unless a loss is one finite number that pairs each output with its own target.

    (batch,) and (batch, 1) broadcast to all pairs without a word, f − y as well as y − f. What comes of it does not
    depend on the order of the targets, though on the targets, which tells it from a loss that has no use for them.

    Args:
        argument: What the loss was given as.
        loss: The loss function to check.
        y: Targets of one batch.
        outputs: The shape of the outputs of one input.
        dtype: Floating dtype of the outputs.

    Returns:
        The outputs that it was tried on, drawn at random.
    """

    def value(targets: Tensor) -> Any:
        try:
            return loss(f, targets)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            got, why = f"outputs {tuple(f.shape)} and targets {tuple(y.shape)}", str(error).splitlines()[:1]
            fail(argument, f"a function of outputs {shape} and these targets", got, *why)

    shape = f"({', '.join(['batch', *map(str, outputs)])})"
    f = torch.randn(len(y), *outputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = f.to(y.device, dtype)
    if y.is_floating_point():
        # Of the targets' own size: beside much larger ones no loss would see the order.
        mean, size = (y.mean(0), y.std(0, correction=0)) if f.shape == y.shape else (y.mean(), y.std(correction=0))
        f = (mean + torch.where(size > 0, size, 1) * f).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of the kind that this is
        of_targets = value(y)
        if not isinstance(of_targets, Tensor) or of_targets.shape != () or not of_targets.is_floating_point():
            got = f"shape {tuple(of_targets.shape)}" if isinstance(of_targets, Tensor) else type(of_targets).__name__
            fail(argument, "one floating number, as a tensor", got, "take the mean over the batch, for example")
        others, rtol = (y.roll(1, 0), y[:1].expand_as(y)), torch.finfo(of_targets.dtype).eps ** 0.5
        same = [torch.allclose(value(other), of_targets, rtol, 0.0) for other in others]
    if same == [True, False]:
        got = f"one that does not see their order, of outputs {tuple(f.shape)} and targets {tuple(y.shape)}"
        fail(argument, "one that pairs each output with its target", got, "compare both as (batch, d_out)")
    return f


class TrainedPerceptron:
    """The lines of a perceptron in the feature-learning limit, which writes a step of SGD at a time.

    With the limits' scales (for μP: U = W^1, V = n W^{L+1}, δ^l = n ∂loss/∂h^l; Yang & Hu 2021):

        h^1 = U x,  h^{l+1} = W^{l+1} φ(h^l),  f = Vᵀ φ(h^L)/n,
        δ^L = (V χᵀ) φ'(h^L),  δ^l = (W^{l+1})ᵀ δ^{l+1} φ'(h^l),  χ = ∂loss/∂f,
        U ← U − η δ^1 xᵀ,  W^l ← W^l − η δ^l φ(h^{l−1})ᵀ/n,  V ← V − η φ(h^L) χ.

    Args:
        d: Input dimension.
        d_out: Output dimension.
        depth: Number L of hidden layers.
        activation: The activation φ.
        stds: σ_1, σ_w, σ_{L+1}: of the entries of U, of √n W^l, of V; that of V is 0 where its start does not count.
        descent: The rates and momenta of SGD.
    """

    def __init__(
        self,
        d: int,
        d_out: int,
        depth: int,
        activation: Activation,
        stds: tuple[float, float, float],
        descent: Descent,
    ):
        self.program = Program()
        self.activation, self.descent = activation, descent
        first, hidden, last = stds
        self.U: Vector = self.program.vector("U", first**2 * torch.eye(d, dtype=torch.float64))
        self.W: list[Matrix] = [self.program.matrix(f"W{layer}", hidden) for layer in range(2, depth + 1)]
        self.V: Vector = self.program.vector("V", last**2 * torch.eye(d_out, dtype=torch.float64))
        self.velocity: list[Vector | Matrix] = []

    @property
    def state(self) -> list[Vector | Matrix]:
        """The lines from which the next step goes on."""
        return [self.U, *self.W, self.V, *self.velocity]

    def forward(self, x: Float[Tensor, "batch d"]) -> Forward:
        """Write the lines of a forward pass."""
        h = [self.U @ x.T]
        z = [apply(self.activation, h[0], name="φ")]
        for W in self.W:
            h.append(W @ z[-1])
            z.append(apply(self.activation, h[-1], name="φ"))
        return Forward(h, z, mean(self.V, z[-1]).T)

    def backward(self, at: Forward, V: Vector) -> list[Vector]:
        """Write the lines of δ^1 … δ^L, from n ∂loss/∂φ(h^L)."""
        δ = []
        for layer in reversed(range(len(at.h))):
            δ.insert(0, apply(slope(self.activation), at.h[layer], name="φ'") * V)
            if layer:
                V = self.W[layer - 1].T @ δ[0]
        return δ

    def step(self, x: Float[Tensor, "batch d"], y: Tensor, loss: Loss) -> Forward:
        """Write the lines of a step of SGD; returns its forward pass."""
        at = self.forward(x)
        χ = apply(torch.func.grad(loss), at.f, y, name="∂loss")
        δ = self.backward(at, self.V @ χ.T)
        self.descend([δ[0] @ x, *(outer(d, z) for d, z in zip(δ[1:], at.z, strict=False)), at.z[-1] @ χ])
        return at

    def descend(self, gradients: list) -> None:
        """Write the lines of the optimiser."""
        o = self.descent
        weights: list = [self.U, *self.W, self.V]
        learning = [i for i, learns in enumerate(o.weights) if learns]
        if o.momentum and not self.velocity:
            # 0·W, and not 0: a matrix that lives on the bases of W.
            self.velocity = [0.0 * weights[i] for i in learning]
        for place, i in enumerate(learning):
            if not o.momentum:
                decayed = weights[i] if o.weight_decay == 0 else (1 - o.lr * o.weight_decay) * weights[i]
                weights[i] = decayed - o.lr * gradients[i]
                continue
            velocity = o.momentum * self.velocity[place] + gradients[i]
            if o.weight_decay:
                velocity = velocity + o.weight_decay * weights[i]
            self.velocity[place] = velocity
            weights[i] = weights[i] - o.lr * velocity
        if o.weight_decay:
            for i in set(range(len(weights))) - set(learning):
                weights[i] = (1 - o.lr * o.weight_decay) * weights[i]
        self.U, *self.W, self.V = weights
