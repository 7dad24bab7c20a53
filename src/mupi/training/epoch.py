"""One pass over the training examples, and one over the test examples."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.distributed.processes import ALONE, Processes
from mupi.layers.evaluating import evaluating
from mupi.optim import SGD
from mupi.training.examples import Examples
from mupi.training.procedure import OF_A_COMMAND, Loss, Procedure
from mupi.training.replayed_step import ReplayedStep, replayable
from mupi.training.state import Tally, TrainingState

EVALUATION_BATCH = 100
STEPS_A_READING = 50  # on an accelerator, which each look at the loss makes Python wait for


def train_epoch(
    state: TrainingState,
    examples: Examples,
    procedure: Procedure,
    interrupted: Callable[[], bool],
    after_steps: Callable[[Tally, int], None],
) -> bool:
    """Take the remaining steps of the epoch in progress.

    On CUDA steps are replayed as a graph, unless atoms make each one larger than the last or the procedure says no;
    see `ReplayedStep`.

    Args:
        state: Is changed, after each step as a whole.
        examples: To train on, where the network is.
        procedure: How steps are taken.
        interrupted: Asked between steps whether to stop there.
        after_steps: Told the sums over the epoch so far, and how many steps are new in them.

    Returns:
        Whether the epoch is finished; if not, it was interrupted.

    Raises:
        FloatingPointError: If the loss is not finite. The step is not taken; where steps are replayed up to
            `STEPS_A_READING` steps may have been taken with it.
    """
    net, optimizer, device = state.net, state.optimizer, examples.x.device
    reading = Reading(state, torch.zeros(2, dtype=torch.float64, device=device), after_steps, procedure.advice)
    batches, views = state.draw_epoch(len(examples.x), procedure.batch_size, device)
    processes, alone = procedure.processes, procedure.processes.together is None
    replays = procedure.replays and alone and replayable(net) and isinstance(optimizer, SGD)
    forward = net if procedure.run is None else procedure.run

    def step(batch: Int64[Tensor, " batch"]) -> None:
        optimizer.zero_grad()
        for part in procedure.parts(batch):
            own = processes.rows(part)
            y = examples.y[own]
            with procedure.precision(device):
                outputs = forward(views(examples.x[own], own))
                loss = procedure.mean_loss(outputs, y)
            correct = (outputs.detach().argmax(1) == y).sum() if procedure.labels else loss.new_zeros(())
            sums = processes.summed(torch.stack([total(loss.detach(), len(y)).double(), correct]))
            if not replays and not math.isfinite(value := loss.item() if alone else float(sums[0]) / len(part)):
                optimizer.zero_grad()
                require_finite(value, reading.where, procedure.advice)
            weight = len(part) / len(batch) * processes.share(len(own), len(part))
            (loss if weight == 1 else loss * weight).backward()
            reading.sums += sums
        optimizer.step()

    take = ReplayedStep(step, net, optimizer) if replays and isinstance(optimizer, SGD) else step
    for batch in batches:
        if processes.any(interrupted()):
            reading.read()
            return False
        take(batch)
        reading.count(len(batch))
        if device.type == "cpu" or reading.steps == STEPS_A_READING:
            reading.read()
    reading.read()
    return True


def total(mean: Float[Tensor, ""], n: int) -> Float[Tensor, ""]:
    """The sum of n losses with this mean, in float32 at least."""
    return mean.to(torch.promote_types(mean.dtype, torch.float32)) * n


@dataclass
class Reading:
    """Loss and right answers that are still on the device, of the steps since they were read.

    Attributes:
        state: The state whose tally they are added to.
        sums: Loss, and how many were classified right.
        after_steps: Told the sums over the epoch so far, and how many steps are new in them.
        advice: What to do once the loss is not finite.
        steps: How many steps were taken since they were read.
        images: How many images these steps trained on.
    """

    state: TrainingState
    sums: Float[Tensor, "2"]
    after_steps: Callable[[Tally, int], None]
    advice: str
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
        require_finite(loss, self.where, self.advice)
        tally, now = self.state.tally, time.perf_counter()
        tally.loss += loss
        tally.correct += int(correct)
        tally.images += self.images
        tally.seconds += now - self.start
        steps, self.start, self.steps, self.images = self.steps, now, 0, 0
        self.after_steps(tally, steps)


@torch.no_grad()
def evaluate(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    mean: Loss | None = None,
    labels: bool = True,
    processes: Processes = ALONE,
) -> tuple[float, float]:
    """Mean loss, and the share of examples classified right, in evaluation mode: no layer learns from these examples.

    Args:
        net: The network to evaluate.
        x: Inputs to evaluate on, one row each.
        y: Targets of the inputs.
        mean: The loss; None for the cross-entropy.
        labels: Whether targets are classes; else the share is 0.
        processes: Those that go through the examples together.
    """
    loss, correct = 0.0, 0
    with evaluating(net):
        for x_all, y_all in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
            x_part, y_part = processes.rows(x_all), processes.rows(y_all)
            outputs = net(x_part)
            if mean is None:
                loss += cross_entropy(outputs, y_part, reduction="sum").item()
            elif len(y_part):
                loss += total(mean(outputs, y_part), len(y_part)).item()
            correct += int((outputs.argmax(1) == y_part).sum()) if labels else 0
    if processes.together is not None:
        loss, correct = processes.summed(torch.tensor([loss, correct], dtype=torch.float64)).tolist()
    return loss / len(x), correct / len(x)


def require_finite(loss: float, where: str, advice: str = OF_A_COMMAND) -> None:
    """Stop a training run that has diverged.

    Raises:
        FloatingPointError: If ``loss`` is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in {where}; {advice}")
