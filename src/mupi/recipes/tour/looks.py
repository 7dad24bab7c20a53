"""How classes lie in what a network's last hidden layer makes of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.nets import Network, feature_kernel


@torch.no_grad()
def principal_plane(net: Network, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n 2"], float]:
    """The two principal components of the last hidden layer, from its feature kernel, and their share of the variance.

    Args:
        net: The network, of any width, infinite too.
        x: Rows.
    """
    kernel = feature_kernel(net, x, x).double()
    centered = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    values, vectors = torch.linalg.eigh(centered)
    first = values[-2:].flip(0).clamp_min(0)
    return vectors[:, -2:].flip(1) * first.sqrt(), float(first.sum() / centered.trace())
