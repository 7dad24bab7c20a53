"""The exact layer by a loop over atoms and samples, with autograd through the closed form of the kernel."""

import torch
from torch import Tensor

from mupi import Activation


def kernel(activation: Activation, b: Tensor, g: Tensor) -> Tensor:
    """κ_φ(b, g) of two vectors, by the bare formula."""
    return activation.dual_00((b @ b)[None], (b @ g)[None], (g @ g)[None])[0]


def layer(activation: Activation, c: Tensor, a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """Σ_m c_m a_m κ_φ(b_m, g) for each row of g."""
    rows = []
    for row in g:
        total = torch.zeros(a.shape[1], dtype=g.dtype)
        for m in range(len(c)):
            total = total + c[m] * a[m] * kernel(activation, b[m], row)
        rows.append(total)
    return torch.stack(rows) if rows else torch.zeros(0, a.shape[1], dtype=g.dtype)


def gradient_norm(activation: Activation, delta: Tensor, g: Tensor) -> Tensor:
    """(Σ_ij δ_i·δ_j κ(g_i, g_j))^{1/2}."""
    total = torch.zeros((), dtype=g.dtype)
    for i in range(len(g)):
        for j in range(len(g)):
            total = total + (delta[i] @ delta[j]) * kernel(activation, g[i], g[j])
    return total.sqrt()


def dense_layer(activation: Activation, c: Tensor, a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """`layer` with all pairs at once, for sizes where the loop is too slow; a test holds the two together."""
    var_b, var_g = b.square().sum(-1), g.square().sum(-1, keepdim=True)
    return activation.dual_00(var_b.expand(len(g), -1), g @ b.T, var_g.expand(-1, len(b))) @ (c[:, None] * a)
