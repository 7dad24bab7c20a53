"""All that the next training step depends on, as one thing that can be saved."""

from dataclasses import dataclass, field
from typing import Any

import torch

from mupi.experiments.schedule import Drop
from mupi.nets import PiMLP
from mupi.optim import SGD


@dataclass
class Tally:
    """Sums over the epoch so far.

    Attributes:
        images: Trained on.
        loss: Sum of their losses.
        correct: How many were classified right.
        seconds: Time taken.
    """

    images: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Loss per image."""
        return self.loss / self.images

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.images


@dataclass
class TrainingState:
    """A network in training.

    Attributes:
        net: The network.
        optimizer: Its optimiser.
        schedule: Its schedule.
        order: The generator that draws the order of each epoch's images.
        epoch: How many epochs are finished.
        step: How many steps of the next one are.
        tally: Sums over these steps.
        order_at_start: State of ``order`` before it drew the order of the epoch in progress.
    """

    net: PiMLP
    optimizer: SGD
    schedule: Drop
    order: torch.Generator
    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self):
        self.order_at_start = self.order.get_state()

    def draw_batches(self, n: int, batch_size: int) -> list[torch.Tensor]:
        """The index sets of the next epoch's batches that are still to come."""
        self.order.set_state(self.order_at_start)
        return list(torch.randperm(n, generator=self.order).split(batch_size))[self.step :]

    def finish_epoch(self) -> None:
        """Go on to the next epoch."""
        self.schedule.step()
        self.epoch += 1
        self.step = 0
        self.tally = Tally()
        self.order_at_start = self.order.get_state()

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only, so that it can be loaded without running any code."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "tally": vars(self.tally).copy(),
            "order": self.order_at_start,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, into a state built from the same configuration."""
        self.epoch = state["epoch"]
        self.step = state["step"]
        self.tally = Tally(**state["tally"])
        self.order_at_start = state["order"]
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
