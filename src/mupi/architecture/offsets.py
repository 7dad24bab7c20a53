"""What a convolution reads: for each offset of its kernel the values there, or all of them as one vector."""

from collections.abc import Iterator
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mupi.architecture.weights import Conv


def offsets(operation: Conv, x: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """For each offset o of a kernel, x(stride·p + o − padding) for all p, of (batch, *positions, channels)."""
    axes, mode = len(operation.size), {"zeros": "constant"}.get(operation.mode, operation.mode)
    both = [side for pad in reversed(operation.padding) for side in (pad, pad)]
    x = functional.pad(x.movedim(-1, 1), both, mode=mode).movedim(1, -1)
    for o in product(*map(range, operation.size)):
        moved = x
        for axis in range(axes):
            stride, size = operation.stride[axis], operation.size[axis]
            count = (x.shape[1 + axis] - size) // stride + 1
            moved = moved.index_select(1 + axis, torch.arange(count) * stride + o[axis])
        yield o, moved


def patches(operation: Conv, x: Float[Tensor, "batch *positions d"]) -> Float[Tensor, "batch *places kd"]:
    """At each place of the output all that the kernel reads there, offset by offset."""
    return torch.stack([moved for _, moved in offsets(operation, x)], -2).flatten(-2)
