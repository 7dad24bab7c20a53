"""The targets of a limit's training: numbers as they come, class labels as the loss takes them."""

import torch
from torch import Tensor

from mupi.checks import fail, finite
from mupi.kernels.labels import centered_one_hot, count_classes, is_labels


def targets_of(
    y: Tensor, rows: int, classes: int | None, known: int | None, *, encoded: bool, dtype: torch.dtype
) -> tuple[Tensor, int]:
    """Targets, and how many outputs there are.

    Args:
        y: As `MuLimit.fit` takes it.
        rows: How many inputs there are.
        classes: How many, where some may have no label.
        known: How many outputs the network has; None if it has not begun.
        encoded: Whether the loss takes labels as centered one-hot vectors.
        dtype: Of numbers.

    Raises:
        ValueError: If they are neither, not one for each input, not finite, or of other outputs.
    """
    argument = "MuLimit.fit(y)"
    if isinstance(y, Tensor) and y.ndim and len(y) != rows:
        fail(argument, f"of {rows} rows, one for each of x", f"{len(y)}")
    if is_labels(argument, y, rows, classes):
        outputs = count_classes(argument, y, classes or known)
        targets = centered_one_hot(y, outputs, dtype) if encoded else y.long()
    else:
        targets = y.detach().reshape(len(y), -1).to(dtype)
        outputs = targets.shape[1]
        finite(argument, targets)
    if known not in (None, outputs):
        fail(argument, f"of {known} outputs, as at first", outputs)
    return targets, outputs
