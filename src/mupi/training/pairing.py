"""Whether a loss is the mean over pairs of an output and its target: what looks like one and is none is refused."""

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.losses import tried
from mupi.training.procedure import Loss

ROWS = 128
"""How many examples a loss is tried on."""


def rows_to_try(y: Tensor) -> Tensor:
    """The numbers of some examples: an even number of them, spread over all, since they may come sorted.

    Targets that are all the same show nothing, so that the least and the largest are among them.
    """
    n, sizes = len(y), y.flatten(1).sum(1) if y.ndim > 1 else y
    rows = torch.linspace(0, n - 1, min(ROWS, n + n % 2), dtype=torch.float64).long().to(y.device)
    rows[0], rows[-1] = sizes.argmin(), sizes.argmax()
    return rows


def are_labels(argument: str, y: Tensor, outputs: Tensor) -> bool:
    """Whether targets are class labels with an output for each class, so that right answers can be counted.

    Raises:
        ValueError: If they look so, and one is of no output.
    """
    if y.is_floating_point() or y.ndim != 1 or outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    if not 0 <= int(y.min()) <= int(y.max()) < outputs.shape[1]:
        got = f"{int(y.min())} to {int(y.max())}"
        fail(f"{argument}, y", f"labels between 0 and {outputs.shape[1] - 1}, one of the network's outputs", got)
    return True


@torch.no_grad()
def check_pairs(argument: str, loss: Loss, outputs: Tensor, y: Tensor, pieces: int) -> None:
    """Refuse a loss by which something else than what was meant would be minimized in silence.

    Args:
        argument: What errors call the loss.
        loss: The loss function.
        outputs: Of the network for the examples of `rows_to_try`.
        y: Targets of these outputs.
        pieces: Of how many parts of a batch the losses' mean is to be that of the batch.

    Raises:
        ValueError: If it is no finite number, does not see which target belongs to which output, or is no mean.
    """
    drawn = tried(argument, loss, outputs, y)
    whole = loss(drawn, y)
    rtol = torch.finfo(whole.dtype).eps ** 0.5
    twice = loss(torch.cat([drawn, drawn]), torch.cat([y, y]))
    if not torch.allclose(twice, whole, rtol, 0.0):
        got = f"{float(twice):.4g} of all of them twice, {float(whole):.4g} of them once"
        fail(argument, "a mean over the examples of a batch", got, "use reduction='mean'")
    halves = torch.stack([loss(f, t) for f, t in zip(drawn.chunk(2), y.chunk(2), strict=True)]).mean()
    if pieces > 1 and not torch.allclose(halves, whole, rtol, 0.0):
        got = f"{float(whole):.4g} of a batch, {float(halves):.4g} as the mean of its halves"
        fail(argument, "the mean of the losses of a batch's parts", got, "use accumulate=1, in one process")
