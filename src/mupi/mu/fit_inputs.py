"""Inputs and targets of a limit's training, held against what its network and its loss take."""

import torch
from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.inputs import read_inputs
from mupi.checks import fail, finite
from mupi.losses import check_loss
from mupi.mu.fit_targets import targets_of
from mupi.mu.losses import Loss, squared_distance


def check_inputs(net: Description | None, x: Tensor, axes: tuple[int, ...] | None) -> None:
    """Raise ``ValueError`` unless inputs are what the network takes.

    Args:
        net: A description; None for a perceptron.
        x: Training inputs.
        axes: The shape of an input at first; None before.
    """
    if net is not None:
        read_inputs(net, x, None)
        return
    if x.ndim != 2 or not x.is_floating_point():
        fail("MuLimit: x", "of shape (batch, d) and a floating dtype", f"{tuple(x.shape)}, {x.dtype}")
    finite("MuLimit: x", x)
    if axes is not None and x.shape[1:] != axes:
        fail("MuLimit: x", f"of shape (batch, {axes[0]})", tuple(x.shape))


def read_targets(
    net: Description | None, rows: int, y: Tensor, classes: int | None, known: int | None, loss: Loss,
    dtype: torch.dtype,
) -> tuple[Tensor, int]:  # fmt: skip
    """Targets as the loss takes them, and how many outputs there are.

    Args:
        net: A description; None for a perceptron.
        rows: How many inputs there are.
        y: As `MuLimit.fit` takes it.
        classes: How many, where some may have no label.
        known: How many outputs there were at first; None before.
        loss: The loss.
        dtype: Of numbers.

    Raises:
        ValueError: If they are not what the network's outputs can be compared with, or the loss compares them wrongly.
    """
    out = None if net is None else net.output
    known = out.channels if out is not None and isinstance(out.channels, int) else known
    if out is not None and out.positions:
        if len(y) != rows:
            fail("MuLimit.fit(y)", f"of {rows} rows, one for each of x", len(y))
        targets, width = y.to(dtype) if y.is_floating_point() else y, known
    else:
        targets, width = targets_of(y, rows, classes, known, encoded=loss is squared_distance, dtype=dtype)
    assert width is not None
    axes = (*(() if out is None else out.positions), width)
    check_loss("MuLimit(loss=...)", loss, targets, axes, dtype)
    return targets, width
