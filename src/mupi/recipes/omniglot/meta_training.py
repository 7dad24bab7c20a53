"""Meta-training: steps of SGD on the query losses of batches of tasks; and accuracy over many tasks."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from mupi.data.episodes import Episodes, EpisodeSampler
from mupi.layers.evaluating import evaluating
from mupi.optim import SGD
from mupi.recipes.omniglot.few_shot_records import Accuracy
from mupi.recipes.omniglot.learners import Learner
from mupi.training.records import of_fields

TASKS_AT_A_TIME = 32


@dataclass
class Tally:
    """Sums since the last validation.

    Attributes:
        batches: How many steps were taken.
        loss: Sum of their mean losses.
        accuracy: Sum of their accuracies.
    """

    batches: int = 0
    loss: float = 0.0
    accuracy: float = 0.0


@dataclass
class MetaTraining:
    """A learner in meta-training, and all that its next step depends on.

    Attributes:
        learner: The learner that is trained.
        optimizer: The optimiser of the learner's network.
        sampler: Draws the tasks.
        generator: Randomness of the tasks.
        tasks: How many tasks a step takes.
        steps: Steps of adaptation to each task.
        schedule: Of the learning rate; None for a constant one.
        batch: How many steps were taken.
        seconds: Seconds that these steps took.
        tally: Sums since the last validation.
    """

    learner: Learner
    optimizer: SGD
    sampler: EpisodeSampler
    generator: torch.Generator
    tasks: int
    steps: int
    schedule: LRScheduler | None = None
    batch: int = 0
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)

    def step(self) -> None:
        """One step along the sum over tasks of the gradients of the query sets' mean losses.

        Raises:
            FloatingPointError: If the loss is not finite. The step is not taken.
        """
        start = time.perf_counter()
        episodes = self.sampler.draw(self.tasks, self.generator)
        logits = self.learner.logits(episodes, self.steps)
        loss = query_loss(logits, episodes)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss became {loss.item()} in batch {self.batch + 1}; the checkpoint is from before; start anew "
                "with a lower --lr, --step-size or --clip"
            )
        self.optimizer.zero_grad()
        (self.tasks * loss).backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.batch += 1
        self.tally.batches += 1
        self.tally.loss += loss.item()
        self.tally.accuracy += float(hits(logits, episodes).float().mean())
        self.seconds += time.perf_counter() - start

    def start_tally(self) -> None:
        """Go on to the steps before the next validation."""
        self.tally = Tally()

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only."""
        assert self.learner.net is not None
        return {
            "batch": self.batch,
            "seconds": self.seconds,
            "tally": vars(self.tally).copy(),
            "generator": self.generator.get_state(),
            "net": self.learner.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, into a state built from the same configuration."""
        assert self.learner.net is not None
        self.batch, self.seconds = index(state["batch"]), float(state["seconds"])
        self.tally = of_fields(Tally, state["tally"])
        self.generator.set_state(state["generator"])
        self.learner.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])


def half_cosine(optimizer: SGD, batches: int) -> LRScheduler:
    """Learning rates that fall to 0 in so many steps."""
    return CosineAnnealingLR(optimizer, batches)


def query_loss(logits: Tensor, episodes: Episodes) -> Tensor:
    """Mean cross-entropy over the query images of all tasks."""
    return cross_entropy(logits.flatten(0, 1), episodes.query_y.repeat(len(episodes)))


def hits(logits: Tensor, episodes: Episodes) -> Tensor:
    """Which query images have the greatest logit at their label."""
    return logits.argmax(-1) == episodes.query_y


@torch.no_grad()
def accuracy(
    learner: Learner,
    sampler: EpisodeSampler,
    episodes: int,
    steps: int,
    generator: torch.Generator,
    progress: Callable[[int], None] = lambda done: None,
) -> Accuracy:
    """Mean over random tasks of the share of query images classified right.

    Args:
        learner: The learner to test.
        sampler: Draws the tasks.
        episodes: How many tasks to test on.
        steps: Steps of adaptation to each task.
        generator: Randomness of the tasks.
        progress: Told after each batch how many tasks it had.
    """
    shares = []
    with nullcontext() if learner.net is None else evaluating(learner.net):
        for done in range(0, episodes, TASKS_AT_A_TIME):
            drawn = sampler.draw(min(TASKS_AT_A_TIME, episodes - done), generator)
            shares.append(hits(learner.logits(drawn, steps), drawn).double().mean(1))
            progress(len(drawn))
    return Accuracy.of(torch.cat(shares))
