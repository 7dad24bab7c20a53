"""Products with a matrix whose entries lie in a band, as small dense products of overlapping pieces."""

import torch
from jaxtyping import Float
from torch import Tensor


def banded_product(blocks: Float[Tensor, "k b reach"], x: Float[Tensor, "rows n"]) -> Float[Tensor, "kb n"]:
    """``A @ x`` for the (k·b, rows) matrix A that is zero but for rows ib … ib + b − 1 at columns ib … ib + reach − 1.

    Args:
        blocks: The entries of A there, for i = 0, …, k − 1.
        x: Of (k − 1)·b + reach rows, one after another in memory.
    """
    k, b, reach = blocks.shape
    n = x.shape[1]
    return torch.bmm(blocks, x.as_strided((k, reach, n), (b * n, n, 1))).view(k * b, n)
