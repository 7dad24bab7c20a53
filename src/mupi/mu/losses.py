"""Losses of a limit's training: of outputs and targets."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Float[Tensor, ""]]
"""Of outputs (batch, *axes) and targets."""


def squared_distance(f: Float[Tensor, "batch d_out"], y: Float[Tensor, "batch d_out"]) -> Float[Tensor, ""]:
    """Mean over the batch of |f − y|²."""
    return (f - y).square().sum(1).mean()
