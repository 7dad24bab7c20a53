"""What a network looks at: the average gradient outer product, a metric of its inputs."""

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

ROWS = 512
"""Rows whose gradients are held at a time."""


def gradient_outer_product(
    net: nn.Module, x: Float[np.ndarray, "n d"], weight: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "d d"]:
    """E Σ_c ∇f_c(x) ∇f_c(x)ᵀ over rows: how far outputs move when an input does (Radhakrishnan et al. 2024).

    Args:
        net: From rows to outputs (n, k), each of its own row.
        x: Rows.
        weight: What each row counts.
    """
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), ROWS):
        rows = torch.from_numpy(x[start : start + ROWS]).float().requires_grad_()
        outputs = net(rows)
        for c in range(outputs.shape[1]):
            (gradient,) = torch.autograd.grad(outputs[:, c].sum(), rows, retain_graph=c + 1 < outputs.shape[1])
            g = gradient.double().numpy()
            total += (g * weight[start : start + ROWS, None]).T @ g
    return total / weight.sum()
