"""The kernel matrix of training inputs by its eigenvectors, in which training on the squared loss is solved."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.filter_rounding import rounding_of
from mupi.kernels.given import ROUNDINGS, Kernel, check_symmetric


@dataclass(frozen=True, eq=False)
class Decomposed:
    """K = k(X, X) = U diag(λ) Uᵀ.

    Attributes:
        kernel: k, of two matrices of inputs.
        inputs: Training inputs X, one row each.
        eigenvalues: λ, ascending; those below the rounding error are 0.
        vectors: Eigenvectors U, one column each.
        smallest: The rounding error of an eigenvalue.
        size: The mean of K's diagonal.
    """

    kernel: Kernel
    inputs: Float[Tensor, "n d"]
    eigenvalues: Float[Tensor, " n"]
    vectors: Float[Tensor, "n n"]
    smallest: Float[Tensor, ""]
    size: float


def decomposed(owner: str, kernel: Kernel, inputs: Float[Tensor, "n d"], K: Float[Tensor, "n n"]) -> Decomposed:
    """A kernel matrix by its eigenvectors, in time O(n³).

    Args:
        owner: What errors name.
        kernel: k, of two matrices of inputs.
        inputs: Training inputs X, one row each.
        K: k(X, X).

    Raises:
        ValueError: If it is not symmetric and positive semi-definite up to rounding.
    """
    check_symmetric(owner, K)
    eigenvalues, vectors = torch.linalg.eigh(K)
    lowest, top, eps = float(eigenvalues[0]), float(eigenvalues[-1]), torch.finfo(K.dtype).eps
    if lowest < -ROUNDINGS * eps**0.5 * max(top, 0):
        fail(f"{owner}(kernel=...)", "positive semi-definite", f"eigenvalues from {lowest:.3g} to {top:.3g}")
    smallest = rounding_of(eigenvalues)
    eigenvalues = torch.where(eigenvalues > smallest, eigenvalues, 0)
    return Decomposed(kernel, inputs, eigenvalues, vectors, smallest, float(K.diagonal().mean()))
