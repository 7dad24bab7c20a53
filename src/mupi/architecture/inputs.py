"""Inputs of a network, checked against its description."""

from math import prod

import torch
from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.weights import Embed
from mupi.checks import fail, finite, is_eager


def read_inputs(net: Description, x: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, tuple[int, ...]]:
    """Inputs (batch, *axes), and the axes that the batch had.

    Args:
        net: The network.
        x: (batch, *axes), or flattened; of one axis, with any axes for the batch.
        dtype: Of the network; None for any.

    Raises:
        ValueError: If ``x`` has other sizes or another dtype, a NaN or infinity, or integers out of range.
    """
    takes = net.input
    axes, flat = takes.axes, prod(takes.axes)
    batch = x.ndim - len(axes)
    if batch >= 1 and tuple(x.shape[batch:]) == axes:
        lead = tuple(x.shape[:batch])
    elif len(axes) > 1 and x.ndim >= 2 and x.shape[-1] == flat:
        lead = tuple(x.shape[:-1])
    elif len(axes) == 1 and tuple(x.shape) == axes and not takes.integers:
        lead = ()
    else:
        sizes = ", ".join(map(str, axes))
        fail("x", f"of shape (..., {sizes}){f' or (..., {flat})' if len(axes) > 1 else ''}", f"shape {tuple(x.shape)}")
    if takes.integers:
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            fail("x", "of an integer dtype", x.dtype, "use x.long()")
        _check_range(net, x)
    else:
        if not x.is_floating_point():
            fail("x", "of a floating dtype", x.dtype, "use x.float()")
        if dtype is not None and x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            fail("x", f"of the network's dtype {dtype}", x.dtype, f"use x.to({dtype}) or net.to({x.dtype})")
        finite("x", x)
    return x.reshape(prod(lead), *axes), lead


def _check_range(net: Description, x: Tensor) -> None:
    """Raise ``ValueError`` for integers that an embedding does not have; looks where `mupi.checks.finite` does."""
    counts = [node.operation.count for node in net if isinstance(node.operation, Embed)]
    if counts and x.numel() and x.device.type == "cpu" and is_eager(x):
        least, most = (int(extreme) for extreme in torch.aminmax(x))
        if least < 0 or most >= min(counts):
            fail("x", f"of integers from 0 to {min(counts) - 1}", least if least < 0 else most)
