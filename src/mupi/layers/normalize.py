"""LayerNorm and RMSNorm of infinitely many coordinates."""

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(g: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch r"]:
    """g/|g|, the limit of LayerNorm and of RMSNorm.

    Coordinates ⟨g, z⟩ have mean 0 and variance |g|². At every finite width RMSNorm is g/|g| exactly, since
    |Ω̃ g|²/n = |g|². Near g = 0 the norm is held above the root of the smallest normal number.
    """
    return g / g.square().sum(-1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny).sqrt()
