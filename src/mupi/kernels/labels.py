"""Class labels as targets of a regression."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.checks import fail


def centred_one_hot(
    labels: Int[Tensor, " n"], classes: int | None = None, dtype: torch.dtype | None = None
) -> Float[Tensor, "n classes"]:
    """One-hot rows less 1/``classes``, so that each sums to 0.

    Args:
        labels: Integers from 0.
        classes: How many there are; None for the largest label plus 1.
        dtype: Floating dtype; None for the default.

    Raises:
        ValueError: If the labels are not integers from 0 to ``classes`` − 1.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.ndim != 1:
        fail("centred_one_hot(labels)", "integers of shape (n,)", f"{labels.dtype} of shape {tuple(labels.shape)}")
    found = int(labels.max()) + 1 if len(labels) else 0
    classes = found if classes is None else classes
    if len(labels) and (int(labels.min()) < 0 or found > classes):
        fail(
            "centred_one_hot(labels)",
            f"between 0 and {classes - 1}",
            f"{int(labels.min())} to {found - 1}",
        )
    rows = torch.full((len(labels), classes), -1 / max(1, classes), dtype=dtype, device=labels.device)
    rows[torch.arange(len(labels), device=labels.device), labels.long()] += 1
    return rows
