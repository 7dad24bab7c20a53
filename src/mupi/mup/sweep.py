"""Training one network after another at widths, rates and seeds, by the user's factory and her optimizer."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.checks import fail, positive_int
from mupi.losses import check_broadcast
from mupi.training.settings import plain

FAR = 1e6
"""Times the first loss (or 1, if that is less), beyond which training will not come back, and need not be followed."""

Built = tuple[nn.Module, Optimizer]

Builder = Callable[[float], Built]
"""From a learning rate to a new model, drawn with torch's global generator, and its optimizer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Procedure:
    """How a network of any width is trained at any rate.

    Args:
        builder: From a width to what makes models of it and their optimizers; called once for each width.
        x: Training inputs.
        y: Their targets.
        loss: Of outputs and targets.
        steps: Optimizer steps.
        batch_size: Inputs a step.
        settings: What else decides a run, as JSON has it.
    """

    builder: Callable[[int], Builder]
    x: Shaped[Tensor, "n ..."]
    y: Shaped[Tensor, "n ..."]
    loss: Callable[[Tensor, Tensor], Tensor]
    steps: int
    batch_size: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    _builders: dict[int, Builder] = field(default_factory=dict, init=False)

    def __post_init__(self):
        for name in ("steps", "batch_size"):
            positive_int(f"{name}", getattr(self, name))
        if len(self.x) != len(self.y) or not len(self.x):
            fail("x and y", "equally many, and at least one", f"{len(self.x)} and {len(self.y)}")

    def run(
        self,
        width: int,
        rate: float,
        seed: int,
        order: int,
        steps: int | None = None,
        test: tuple[Tensor, Tensor] | None = None,
    ) -> list[float]:
        """The loss of each step's batch before the step; where training diverges, infinite from then on.

        Args:
            width: Of the network.
            rate: The learning rate.
            seed: Of torch's global generator, which draws the initial values; its state is restored.
            order: Seed of the batches.
            steps: To take fewer.
            test: Inputs and targets; then one number is given instead, their loss after the last step.
        """
        if width not in self._builders:
            self._builders[width] = self.builder(width)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model, optimizer = self._builders[width](rate)
            losses = self._trained(model, optimizer, order, steps or self.steps)
            if test is None:
                return losses
            model.eval()
            with torch.no_grad():
                return [float(self.loss(model(test[0]), test[1])) if math.isfinite(losses[-1]) else math.inf]

    def _trained(self, model: nn.Module, optimizer: Optimizer, order: int, steps: int) -> list[float]:
        model.train()
        losses: list[float] = []
        for batch in batches(len(self.x), self.batch_size, steps, order):
            optimizer.zero_grad()
            outputs = model(self.x[batch])
            if not losses:
                check_broadcast("loss", self.loss, outputs, self.y[batch])
            loss = self.loss(outputs, self.y[batch])
            value = float(loss.detach())
            if not value < FAR * max(1.0, abs(losses[0]) if losses else value):
                return losses + [math.inf] * (steps - len(losses))
            losses.append(value)
            loss.backward()
            optimizer.step()
        return losses

    def plain(self) -> dict[str, Any]:
        """What decides a run of given width, rate and seed, as JSON has it."""
        own = {name: plain(getattr(self, name)) for name in ("x", "y", "loss", "steps", "batch_size")}
        return {**own, **self.settings}


def batches(n: int, size: int, steps: int, order: int) -> Iterator[Shaped[Tensor, " size"]]:
    """Index sets, all of one size, from one random order of the inputs after another.

    Args:
        n: How many inputs there are.
        size: Inputs a step; all of them, if they are fewer.
        steps: How many sets.
        order: Seed of the orders.
    """
    generator = torch.Generator().manual_seed(order)
    size, left = min(size, n), torch.zeros(0, dtype=torch.int64)
    for _ in range(steps):
        if len(left) < size:
            left = torch.randperm(n, generator=generator)
        batch, left = left[:size], left[size:]
        yield batch


def stretches(losses: Sequence[float], count: int) -> list[float]:
    """Means over equally long stretches of a curve; the last is up to one step per stretch longer.

    Args:
        losses: Of each step.
        count: How many stretches, at most one a step.
    """
    edges = [round(i * len(losses) / count) for i in range(count + 1)]
    return [sum(losses[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
