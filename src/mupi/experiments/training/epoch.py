"""One pass over the training images, and one over the test images."""

import math
import time
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.data import Dataset
from mupi.experiments.training.state import Tally, TrainingState

EVALUATION_BATCH = 100


def train_epoch(
    state: TrainingState,
    data: Dataset,
    batch_size: int,
    interrupted: Callable[[], bool],
    after_step: Callable[[Tally], None],
    label_smoothing: float = 0.0,
) -> bool:
    """Take the remaining steps of the epoch in progress, by the batch mean of the cross-entropy.

    Args:
        state: Is changed, after each step as a whole.
        data: Where its training images are.
        batch_size: Images a step.
        interrupted: Asked between steps whether to stop there.
        after_step: Told the sums over the epoch so far.
        label_smoothing: Share of each label that is spread over all classes.

    Returns:
        Whether the epoch is finished; if not, it was interrupted.

    Raises:
        FloatingPointError: If the loss is not finite. The step is not taken.
    """
    start = time.perf_counter()
    batches, views = state.draw_epoch(len(data.train_x), batch_size)
    for images in batches:
        if interrupted():
            return False
        batch = images.to(data.train_x.device)
        x, y = views(data.train_x[batch], images), data.train_y[batch]
        logits = state.net(x)
        loss = cross_entropy(logits, y, label_smoothing=label_smoothing)
        require_finite(loss.item(), f"epoch {state.epoch + 1}, step {state.step + 1}")
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()

        state.step += 1
        state.tally.images += len(batch)
        state.tally.loss += loss.item() * len(batch)
        state.tally.correct += int((logits.argmax(1) == y).sum())
        now = time.perf_counter()
        state.tally.seconds += now - start
        start = now
        after_step(state.tally)
    return True


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
