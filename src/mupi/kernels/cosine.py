"""`CosineKernel`: a kernel of features that are scaled to norm one."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, is_eager


@takes_numpy
class CosineKernel:
    """k(x, x')/√(k(x, x) k(x', x')): the inner product of the features of k after each was scaled to norm 1.

    Where k(x, x) = 0 the row is 0.

    Args:
        kernel: The kernel k to normalize.
        diagonal: Gives k(x, x) for each row x.
    """

    def __init__(self, kernel: Callable[[Tensor, Tensor], Tensor], diagonal: Callable[[Tensor], Tensor]):
        self.kernel = kernel
        self.diagonal = diagonal

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``.

        Raises:
            ValueError: If some k(x, x) is negative or not finite.
        """
        scale1, scale2 = (self._inverse_norm(x) for x in (x1, x2))
        return self.kernel(x1, x2) * scale1[:, None] * scale2

    def _inverse_norm(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """1/√k(x, x), and 0 where that is 0."""
        square = self.diagonal(x)
        if is_eager(square) and not ((square >= 0) & torch.isfinite(square)).all():
            wrong = square[~((square >= 0) & torch.isfinite(square))]
            fail("CosineKernel(diagonal=...)", "a function with finite values ≥ 0", float(wrong[0]))
        positive = square > 0
        return torch.where(positive, torch.where(positive, square, 1).rsqrt(), 0)
