"""How a user's loss of outputs and targets is tried before it is used."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail


def check_loss(
    argument: str, loss: Callable[[Tensor, Tensor], Any], y: Tensor, outputs: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Raise ``ValueError`` unless a loss is one finite number that pairs each output with its own target.

    (batch,) and (batch, 1) broadcast to all pairs without a word, f − y as well as y − f. What comes of it does not
    depend on the order of the targets, though on the targets, which tells it from a loss that has no use for them. And
    (batch,) beside (batch, d) with d = batch pairs targets with columns: rolled with the targets they leave the loss as
    it is, and examples do not. (What sees both, as losses of images and texts do, changes with columns too.)

    Args:
        argument: What the loss was given as.
        loss: The loss function to check.
        y: Targets of one batch.
        outputs: The shape of the outputs of one input.
        dtype: Floating dtype of the outputs.

    Returns:
        The outputs that it was tried on, drawn at random.
    """

    def value(f: Tensor, targets: Tensor) -> Any:
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
        of_targets = value(f, y)
        if not isinstance(of_targets, Tensor) or of_targets.shape != () or not of_targets.is_floating_point():
            got = f"shape {tuple(of_targets.shape)}" if isinstance(of_targets, Tensor) else type(of_targets).__name__
            fail(argument, "one floating number, as a tensor", got, "take the mean over the batch, for example")
        rtol = torch.finfo(of_targets.dtype).eps ** 0.5
        # In several orders: in one, losses of a few digits are the same by chance, now and then in a long training.
        others = [y.roll(shift, 0) for shift in range(1, max(2, min(5, len(y))))]
        in_any_order = all(torch.allclose(value(f, other), of_targets, rtol, 0.0) for other in others)
        of_one_target = torch.allclose(value(f, y[:1].expand_as(y)), of_targets, rtol, 0.0)
        by_columns = False
        if y.ndim == 1 and f.shape == (len(y), len(y)):
            rows, columns = (
                torch.allclose(value(f.roll(1, axis), y.roll(1, 0)), of_targets, rtol, 0.0) for axis in (0, 1)
            )
            by_columns = columns and not rows
    if by_columns or (in_any_order and not of_one_target):
        which = "pairs them with columns" if by_columns else "does not see their order"
        got = f"one that {which}, of outputs {tuple(f.shape)} and targets {tuple(y.shape)}"
        fail(argument, "one that pairs each output with its target", got, "compare both as (batch, d_out)")
    return f


def _broadcast(one: Tensor, other: Tensor) -> bool:
    """Whether an operation takes both, entry by entry."""
    try:
        torch.broadcast_shapes(one.shape, other.shape)
    except RuntimeError:
        return False
    return True


def _has_value(loss: Callable[[Tensor, Tensor], Any], outputs: Tensor, y: Tensor) -> bool:
    """Whether a loss of these is a finite number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of targets that broadcast, which are refused
        try:
            return bool(torch.isfinite(loss(outputs, y)).all())
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            return False


def tried(argument: str, loss: Callable[[Tensor, Tensor], Any], outputs: Tensor, y: Tensor) -> Tensor:
    """`check_loss` where a loss has values of numbers at random; the outputs that it can be tried on further.

    Of probabilities, say, it may have values of these outputs only, which are returned then.

    Args:
        argument: What the loss was given as.
        loss: The loss function.
        outputs: Of a model.
        y: Targets of these outputs.
    """
    # Not of torch's global generator, which belongs to the layers.
    drawn = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0)).to(outputs)
    if _has_value(loss, drawn, y) or not _has_value(loss, outputs, y):
        return check_loss(argument, loss, y, tuple(outputs.shape[1:]), outputs.dtype)
    return outputs


@torch.no_grad()
def check_broadcast(argument: str, loss: Callable[[Tensor, Tensor], Any], outputs: Any, y: Tensor) -> None:
    """`check_loss` where shapes let a loss compare each output with the targets of others: where they differ.

    Labels that do not broadcast with outputs are not tried; a loss that has values of these outputs only, such as
    probabilities, and one of something else than a tensor a row, are the caller's own.

    Args:
        argument: What the loss was given as.
        loss: The loss function.
        outputs: Of a model.
        y: Targets of these outputs.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.shape == y.shape:
        return
    if not outputs.ndim or not y.ndim or len(outputs) != len(y):
        return
    if not y.is_floating_point() and not _broadcast(outputs, y):
        return
    with torch.random.fork_rng(devices=[]):
        tried(argument, loss, outputs, y)
