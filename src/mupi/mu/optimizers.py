"""SGD and Adam in the limit: the lines that a step replaces a parameter's by."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail, non_negative
from mupi.mu.training_writer import Kind
from mupi.programs import Matrix, apply, entries, entrywise, over_n
from mupi.programs.vectors import multiplied


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule of steps, with multipliers of its rate by role.

    Attributes:
        lr: Learning rate η.
        weight_decay: λ; not multiplied, so that every parameter shrinks by 1 − ηλ a step.
        first: Multiplier of η for the weights that read data.
        last: Multiplier of η for readouts.
        bias: Multiplier of η for biases, gains and shifts.
    """

    lr: float
    weight_decay: float = 0.0
    first: float = 1.0
    last: float = 1.0
    bias: float = 1.0

    def __post_init__(self):
        for name in ("lr", "weight_decay", "first", "last", "bias"):
            non_negative(f"{type(self).__name__}({name}=...)", getattr(self, name))

    def rate(self, role: str) -> float:
        """The learning rate of a role."""
        factors = {"input": self.first, "readout": self.last, "vector": self.bias, "finite": self.bias}
        return self.lr * factors.get(role, 1.0)

    def shrunk(self, line: Any) -> Any:
        """A parameter after weight decay alone."""
        return multiplied(1 - self.lr * self.weight_decay, line)

    @abstractmethod
    def step(self, line: Any, gradient: Any, kind: Kind, memory: dict[str, Any], time: int) -> Any:
        """Write the lines of a step of one parameter.

        Args:
            line: The parameter.
            gradient: As `mupi.gradients` has it.
            kind: What the parameter is.
            memory: Lines that the optimizer keeps for it, by name; changed.
            time: How many steps were taken before.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """v ← momentum·v + gradient + weight_decay·w,  w ← w − lr·v: `torch.optim.SGD`.

    Attributes:
        momentum: Momentum μ.
        nesterov: Whether the step is along gradient + momentum·v.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        super().__post_init__()
        non_negative("SGD(momentum=...)", self.momentum)

    def step(self, line: Any, gradient: Any, kind: Kind, memory: dict[str, Any], time: int) -> Any:
        """See `Optimizer`."""
        lr = self.rate(kind.role)
        # A vector of t·n coordinates has its gradient in units of t·n, and is moved by n times ∂loss/∂w.
        η = lr / kind.times
        if not self.momentum or lr == 0:
            return stepped(self.shrunk(line), -η, gradient) if lr else self.shrunk(line)
        decay = self.weight_decay * self.lr / lr * kind.times
        total = stepped(0.0 * line, 1.0, gradient)
        if decay:
            total = total + decay * line
        known = memory.get("velocity")
        velocity = memory["velocity"] = total if known is None else self.momentum * known + total
        return line + -η * (total + self.momentum * velocity if self.nesterov else velocity)


@dataclass(frozen=True)
class Adam(Optimizer):
    """AdamW (Loshchilov & Hutter 2019), and with weight_decay=0 Adam, in its limit (Yang & Littwin 2023).

    With g the gradient in the units in which it has a limit, n ∂loss/∂U, n ∂loss/∂W, n ∂loss/∂V,

        m ← β_1 m + (1 − β_1) g,  v ← β_2 v + (1 − β_2) g²,  Q = m/(1 − β_1^t) / (√(v/(1 − β_2^t)) + ε),

    a step is U ← U − η Q of vectors, and W ← W − η Q/n of matrices, where Q_αβ is a function of the history of the
    outer products d_α x_β, and so W x changes by −η E_β Q_αβ x_β. It is the limit of torch's Adam at rates η n^{−c}
    with `Roles.adam_rates` and an ε that shrinks as the gradients do.

    Attributes:
        betas: β_1 and β_2; (0, 0) for the descent along signs.
        eps: ε, beside gradients in these units.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= β < 1 for β in self.betas):
            fail("Adam(betas=...)", "two numbers from 0 to 1", self.betas)
        if not 0 < self.eps < float("inf"):
            fail("Adam(eps=...)", "a positive number", self.eps)

    def step(self, line: Any, gradient: Any, kind: Kind, memory: dict[str, Any], time: int) -> Any:
        """See `Optimizer`."""
        η, (β1, β2) = self.rate(kind.role), self.betas
        line = self.shrunk(line)
        quotient = Quotient(1 - β1 ** (time + 1), 1 - β2 ** (time + 1), self.eps)
        if isinstance(line, Matrix):
            if not gradient:
                return line
            g = reduce(lambda a, b: entrywise(torch.add, a, b), (entries(part.d, part.x) for part in gradient))
            g = g if kind.columns == 1 else entrywise(torch.mul, g, 1 / kind.columns)
            m = memory["m"] = entrywise(Running(β1, 1), g, *([memory["m"]] if "m" in memory else []), name="running")
            v = memory["v"] = entrywise(Running(β2, 2), g, *([memory["v"]] if "v" in memory else []), name="running")
            return line - η * kind.columns * over_n(entrywise(quotient, m, v, name="Adam"))
        g = multiplied(1 / kind.times, gradient)
        m, v = (1 - β1) * g, (1 - β2) * (g * g)
        if "m" in memory:
            m, v = β1 * memory["m"] + m, β2 * memory["v"] + v
        memory["m"], memory["v"] = m, v
        return line - η * apply(quotient, m, v, name="Adam")


@dataclass(frozen=True)
class Running:
    """(g, m) ↦ β m + (1 − β) g^power; of g alone with m = 0.

    Attributes:
        beta: Decay β of the mean.
        power: 1 or 2.
    """

    beta: float
    power: int

    def __call__(self, g: Tensor, known: Tensor | None = None) -> Tensor:
        """See the class."""
        new = (1 - self.beta) * (g if self.power == 1 else g * g)
        return new if known is None else torch.add(new, known, alpha=self.beta)


@dataclass(frozen=True)
class Quotient:
    """(m, v) ↦ m/c_1 / (√(v/c_2) + ε).

    Attributes:
        first: Correction c_1 of a mean that began at 0.
        second: Correction c_2.
        eps: Added to the root, ε.
    """

    first: float
    second: float
    eps: float

    def __call__(self, m: Tensor, v: Tensor) -> Tensor:
        """See the class."""
        # v ≥ 0, but where a line is tried on arbitrary numbers.
        return m / self.first / ((v / self.second).clamp_min(0).sqrt() + self.eps)


def stepped(line: Any, factor: float, gradient: Any) -> Any:
    """A parameter and a multiple of its gradient."""
    if isinstance(line, Matrix):
        for part in gradient:
            line = line + factor * part
        return line
    return line + multiplied(factor, gradient)
