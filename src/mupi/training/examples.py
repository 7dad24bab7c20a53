"""What is trained on: inputs and their targets, as tensors in memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from mupi.arrays import as_tensor
from mupi.checks import fail, finite


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs with their targets.

    Args:
        x: Inputs (n, ...).
        y: Targets (n, ...): integers are class labels, floats are numbers.
    """

    x: Tensor
    y: Tensor


def as_examples(argument: str, data: Any, like: Tensor) -> Examples:
    """Examples on the device of ``like``; arrays in its dtype, integer targets as int64.

    Args:
        argument: What errors call them.
        data: A pair (x, y) of tensors or arrays, or a `TensorDataset` of two tensors.
        like: A parameter of the network.

    Raises:
        ValueError: If they are no such pair, not equally many, none at all, or not finite.
    """
    pair = data.tensors if isinstance(data, TensorDataset) else data
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = f"{len(pair)} of them" if isinstance(pair, tuple | list) else type(data).__name__
        must = "(x, y), a TensorDataset of two tensors, or a mupi.data.Dataset"
        fail(argument, must, got, "stack what else there is into two tensors")
    x, y = (_moved(f"{argument}, {name}", value, like) for name, value in zip("xy", pair, strict=True))
    if y.is_complex() or y.dtype == torch.bool:
        fail(f"{argument}, y", "floats, or integer class labels", y.dtype, "use y.long() for classes, y.float() else")
    if not (x.ndim and y.ndim and len(x) == len(y) and len(x)):
        fail(argument, "one target to each input, and at least one", f"shapes {tuple(x.shape)} and {tuple(y.shape)}")
    return Examples(x, y if y.is_floating_point() else y.long())


def _moved(argument: str, value: Any, like: Tensor) -> Tensor:
    if not isinstance(value, Tensor) and not hasattr(type(value), "__array__"):
        fail(argument, "a tensor or an array", type(value).__name__)
    tensor = as_tensor(argument, value, like).detach().to(like.device)
    if tensor.is_floating_point():
        finite(argument, tensor)
    return tensor
