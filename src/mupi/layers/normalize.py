"""LayerNorm and RMSNorm of infinitely many coordinates."""

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(g: Float[Tensor, "*batch r"], eps: float = 0.0) -> Float[Tensor, "*batch r"]:
    """g/√(|g|² + eps), the limit of LayerNorm and of RMSNorm.

    Coordinates ⟨g, z⟩ have mean 0 and variance |g|². At every finite width RMSNorm is g/|g| exactly, since
    |Ω̃ g|²/n = |g|². Without ``eps`` the norm is held above the root of the smallest normal number near g = 0.

    >>> mupi.normalize(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    squares = g.square().sum(-1, keepdim=True)
    return g / (squares + eps if eps else squares.clamp_min(torch.finfo(g.dtype).tiny)).sqrt()
