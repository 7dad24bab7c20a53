"""Euclidean norms whose squares do not overflow."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import is_eager


def norm(x: Tensor) -> Float[Tensor, ""]:
    """‖x‖ over all entries, right wherever it is a number of the dtype: squares of 1e20 are none of float32.

    Bit for bit `torch.linalg.vector_norm` where that does not overflow on a CPU. An accelerator adds float64 squares
    instead of waiting for the answer whether it does.
    """
    if x.device.type != "cpu" or not is_eager(x):
        return torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float64)).to(x.dtype)
    plain = torch.linalg.vector_norm(x)
    if not torch.isinf(plain):
        return plain
    size = power_of_two(x)
    return torch.linalg.vector_norm(x / size) * size


def row_norms(x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """‖x_i‖ of each row, each scaled by itself, so that rows of 1e20 and of 1e-30 are both right in float32."""
    size = power_of_two(x, -1)
    return torch.linalg.vector_norm(x / size[..., None], dim=-1) * size


def power_of_two(x: Tensor, dim: int | None = None) -> Tensor:
    """The power of two below the largest absolute entry, by which dividing rounds nothing; 1 where there is none."""
    if x.numel() == 0:
        return x.new_ones(() if dim is None else x.sum(dim).shape)
    largest = x.abs().amax() if dim is None else x.abs().amax(dim)
    _, exponent = torch.frexp(largest)
    size = torch.ldexp(torch.ones_like(largest), exponent - 1)
    return torch.where(torch.isfinite(size) & (size > 0) & (largest > 0), size, 1)
