"""One pass over the training images, and one over the test images."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.data import Dataset
from mupi.training.replayed_step import ReplayedStep, replayable
from mupi.training.state import Tally, TrainingState

EVALUATION_BATCH = 100
STEPS_A_READING = 50  # on an accelerator, which each look at the loss makes Python wait for


def train_epoch(
    state: TrainingState,
    data: Dataset,
    batch_size: int,
    interrupted: Callable[[], bool],
    after_steps: Callable[[Tally, int], None],
    label_smoothing: float = 0.0,
) -> bool:
    """Take the remaining steps of the epoch in progress, by the batch mean of the cross-entropy.

    On CUDA steps are replayed as a graph, unless atoms make each one larger than the last; see `ReplayedStep`.

    Args:
        state: Is changed, after each step as a whole.
        data: Where its training images are.
        batch_size: Images a step.
        interrupted: Asked between steps whether to stop there.
        after_steps: Told the sums over the epoch so far, and how many steps are new in them.
        label_smoothing: Share of each label that is spread over all classes.

    Returns:
        Whether the epoch is finished; if not, it was interrupted.

    Raises:
        FloatingPointError: If the loss is not finite. On the CPU the step is not taken; elsewhere up to
            `STEPS_A_READING` steps may have been taken with it.
    """
    net, optimizer, device = state.net, state.optimizer, data.train_x.device
    reading = Reading(state, torch.zeros(2, dtype=torch.float64, device=device), after_steps)
    batches, views = state.draw_epoch(len(data.train_x), batch_size, device)

    def step(images: Int64[Tensor, " batch"]) -> None:
        y = data.train_y[images]
        logits = net(views(data.train_x[images], images))
        loss = cross_entropy(logits, y, label_smoothing=label_smoothing)
        if device.type == "cpu":
            require_finite(loss.item(), reading.where)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reading.sums += torch.stack([loss.detach() * len(y), (logits.detach().argmax(1) == y).sum()])

    take = ReplayedStep(step, net, optimizer) if replayable(net) else step
    for images in batches:
        if interrupted():
            reading.read()
            return False
        take(images)
        reading.count(len(images))
        if device.type == "cpu" or reading.steps == STEPS_A_READING:
            reading.read()
    reading.read()
    return True


@dataclass
class Reading:
    """Loss and right answers that are still on the device, of the steps since they were read.

    Attributes:
        state: Where they go.
        sums: Loss, and how many were classified right.
        after_steps: Told of each reading.
        steps: How many there are.
        images: Of how many images.
    """

    state: TrainingState
    sums: Float[Tensor, "2"]
    after_steps: Callable[[Tally, int], None]
    steps: int = 0
    images: int = 0

    def __post_init__(self):
        self.start = time.perf_counter()

    @property
    def where(self) -> str:
        """The step in progress."""
        return f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"

    def count(self, images: int) -> None:
        """A step has been taken."""
        self.state.step += 1
        self.steps += 1
        self.images += images

    def read(self) -> None:
        """Add them to the tally.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        if not self.steps:
            return
        loss, correct = self.sums.tolist()
        self.sums.zero_()
        require_finite(loss, self.where)
        tally, now = self.state.tally, time.perf_counter()
        tally.loss += loss
        tally.correct += int(correct)
        tally.images += self.images
        tally.seconds += now - self.start
        steps, self.start, self.steps, self.images = self.steps, now, 0, 0
        self.after_steps(tally, steps)


@torch.no_grad()
def evaluate(net: nn.Module, x: Float[Tensor, "n d"], y: Int64[Tensor, " n"]) -> tuple[float, float]:
    """Mean cross-entropy, and the share of images classified right."""
    loss, correct = 0.0, 0
    for x_part, y_part in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
        logits = net(x_part)
        loss += cross_entropy(logits, y_part, reduction="sum").item()
        correct += int((logits.argmax(1) == y_part).sum())
    return loss / len(x), correct / len(x)


def require_finite(loss: float, where: str) -> None:
    """Stop a training run that has diverged.

    Raises:
        FloatingPointError: If ``loss`` is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss became {loss} in {where}; the checkpoint is from before; start anew with a lower --lr or --clip"
        )
