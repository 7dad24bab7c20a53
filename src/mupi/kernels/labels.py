"""What a fit takes as targets: numbers, or class labels. One rule for all that are fitted.

Floats are numbers, never classes. Integers of shape (n,) are class labels 0 … k−1. Each class must occur, or k be said
with ``classes=k``: else ages or counts would pass for classes, and a class that a sample lacks would go unnoticed.
Anything else is refused; bools, because they may be meant as either.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, positive_int


def regression_targets(
    argument: str, Y: Tensor, inputs: Tensor, classes: int | None = None, dtype: torch.dtype | None = None
) -> Float[Tensor, "n outputs"]:
    """The targets as a matrix on the inputs' device; class labels as their `centered_one_hot`.

    Args:
        argument: What errors call the targets, for example ``KernelRegression.fit(Y)``.
        Y: Targets, (n,) or (n, outputs), or class labels.
        inputs: To each of whose n rows a target belongs.
        classes: The number of classes; None for one more than the largest label.
        dtype: That they are wanted in; None for that of the inputs.

    Raises:
        ValueError: If they are neither by the rule above, or not one to each input, or not finite.
    """
    dtype = dtype or inputs.dtype
    if is_labels(argument, Y, len(inputs), classes):
        return centered_one_hot(Y, count_classes(argument, Y, classes), dtype).to(inputs.device)
    targets = Y.detach().reshape(len(Y), -1).to(inputs.device, dtype)
    finite(argument, targets)
    return targets


def in_shape_of(Y: Tensor, columns: Float[Tensor, "n outputs"]) -> Float[Tensor, "n ..."]:
    """A column for each output, or the one without an axis of its own where targets came so.

    Args:
        Y: Targets as they were given.
        columns: What there is for each of their outputs.
    """
    return columns[:, 0] if Y.ndim == 1 and Y.is_floating_point() else columns


def is_labels(argument: str, Y: Tensor, rows: int, classes: int | None = None) -> bool:
    """Whether targets are class labels, and not numbers.

    Raises:
        ValueError: If they are neither, or not one to each row; or ``classes`` is given and they are numbers.
    """
    if not isinstance(Y, Tensor):
        fail(argument, "a tensor or an array", type(Y).__name__)
    if Y.is_complex() or Y.dtype == torch.bool:
        hint = "use Y.long() for two classes, or Y.float() for numbers" if Y.dtype == torch.bool else ""
        fail(argument, "floats, or integer class labels", Y.dtype, hint)
    if Y.ndim not in (1, 2) or len(Y) != rows or (Y.ndim == 2 and not Y.shape[1]):
        fail(argument, f"of shape ({rows},) or ({rows}, outputs), a row for each of X", f"shape {tuple(Y.shape)}")
    if Y.is_floating_point():
        if classes is not None:
            fail(argument, "integers where classes=... is given", Y.dtype, "floats are numbers; use Y.long()")
        return False
    if Y.ndim == 2:
        got = f"{Y.dtype} of shape {tuple(Y.shape)}"
        fail(argument, f"floats, or class labels of shape ({rows},)", got, "use Y.float() for numbers")
    return True


def labeled_classes(argument: str, Y: Tensor, rows: int, classes: int | None, instead: str) -> int:
    """The number of classes k of targets that must be class labels.

    Args:
        argument: What errors call the targets.
        Y: The targets.
        rows: How many there must be.
        classes: The number of classes k; None if all occur.
        instead: What takes numbers, for the error about them.

    Raises:
        ValueError: If they are numbers, or no class labels by the rule above.
    """
    if not is_labels(argument, Y, rows, classes):
        fail(argument, "class labels 0 … k−1", Y.dtype, f"use Y.long(), or {instead} for numbers")
    return count_classes(argument, Y, classes)


def count_classes(argument: str, labels: Int[Tensor, " n"], classes: int | None = None) -> int:
    """The number of classes k, given or, if all occur, found.

    Raises:
        ValueError: If a label is not from 0 to k − 1, or k is not given and some of these do not occur.
    """
    if classes is not None:
        classes = positive_int(f"{argument.split('(')[0]}(classes=...)", classes)
    if not len(labels):
        return classes or 0
    found = labels.long().unique()
    low, high = int(found[0]), int(found[-1])
    if classes is not None:
        if low < 0 or high >= classes:
            fail(argument, f"between 0 and {classes - 1}", f"{low} to {high}")
        return classes
    if low < 0 or len(found) <= high:
        hint = "use Y.float() for numbers" + (f", or say classes={high + 1} for classes" if low >= 0 else "")
        got = f"{len(found)} different integers from {low} to {high}"
        fail(argument, "floats, or class labels 0 … k−1 that all occur", got, hint)
    return len(found)


@takes_numpy
def centered_one_hot(
    labels: Int[Tensor, " n"], classes: int | None = None, dtype: torch.dtype | None = None
) -> Float[Tensor, "n classes"]:
    """One-hot rows less 1/``classes``, so that each sums to 0.

    Args:
        labels: Integers from 0.
        classes: How many there are; None if each has a label.
        dtype: Floating dtype; None for the default.

    Raises:
        ValueError: If the labels are not integers from 0 to ``classes`` − 1, or ``classes`` is None and one is missing.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.ndim != 1:
        fail("centered_one_hot(labels)", "integers of shape (n,)", f"{labels.dtype} of shape {tuple(labels.shape)}")
    classes = count_classes("centered_one_hot(labels)", labels, classes)
    rows = torch.full((len(labels), classes), -1 / max(1, classes), dtype=dtype, device=labels.device)
    rows[torch.arange(len(labels), device=labels.device), labels.long()] += 1
    return rows
