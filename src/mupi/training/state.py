"""All that the next training step depends on, as one thing that can be saved."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mupi.distributed.states import load_optimizer_state_dict, optimizer_state_dict, state_dict
from mupi.training.augmentation import Augmentation, Seen, unchanged
from mupi.training.records import of_fields


@dataclass
class Tally:
    """Sums over the epoch so far.

    Attributes:
        images: How many images were trained on.
        loss: Sum of the images' losses.
        correct: How many were classified right.
        seconds: Seconds that training took.
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
        net: The network in training.
        optimizer: The optimiser of its parameters.
        schedule: Its schedule, which is stepped once an epoch; None for none.
        augmentation: What may be done to its images; None for nothing.
        order: The generator that draws the order of each epoch's images.
        views: The generator that draws what is done to each of them; it may be ``order`` itself.
        epoch: How many epochs are finished.
        step: How many steps of the next one are.
        tally: Sums over these steps.
        at_start: States of ``order`` and ``views`` before they drew for the epoch in progress.
    """

    net: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler | None
    augmentation: Augmentation | None
    order: torch.Generator
    views: torch.Generator
    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self):
        self.at_start = self._draws()

    def draw_epoch(self, n: int, batch_size: int, device: torch.device) -> tuple[Iterable[torch.Tensor], Seen]:
        """The index sets of the next epoch's batches that are still to come, and how its images are seen."""
        self.order.set_state(self.at_start["order"])
        self.views.set_state(self.at_start["views"])
        batches = list(torch.randperm(n, generator=self.order).to(device).split(batch_size))
        views = unchanged if self.augmentation is None else self.augmentation.draw(n, self.views).to(device)
        return batches[self.step :], views

    def finish_epoch(self) -> None:
        """Go on to the next epoch."""
        if self.schedule is not None:
            self.schedule.step()
        self.epoch += 1
        self.step = 0
        self.tally = Tally()
        self.at_start = self._draws()

    def _draws(self) -> dict[str, torch.Tensor]:
        """The states of the generators."""
        return {"order": self.order.get_state(), "views": self.views.get_state()}

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only, so that it can be loaded without running any code.

        Of several processes all call this; the first one has it whole.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "tally": vars(self.tally).copy(),
            "draws": self.at_start,
            "net": state_dict(self.net),
            "optimizer": optimizer_state_dict(self.net, self.optimizer),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, into a state built from the same configuration."""
        self.epoch, self.step = index(state["epoch"]), index(state["step"])
        self.tally = of_fields(Tally, state["tally"])
        self.at_start = state["draws"]
        self.order.set_state(self.at_start["order"])
        self.views.set_state(self.at_start["views"])
        self.net.load_state_dict(state["net"])
        load_optimizer_state_dict(self.net, self.optimizer, state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
