"""What makes few iterations of many: the inverse of a kernel's Nyström approximation, and the noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Preconditioner:
    """(Ψ Ψᵀ + D)⁻¹ = D^{−1/2} (I − Q Qᵀ) D^{−1/2}, D = diag(λ_i).

    Q are the upper rows of an orthonormal basis of (B; I), B = D^{−1/2} Ψ: its R has RᵀR = I + BᵀB, so that
    I − Q Qᵀ = I − B (I + BᵀB)⁻¹ Bᵀ = (I + B Bᵀ)⁻¹. Unlike that formula this is positive definite up to rounding of 1,
    however small the noise.

    Args:
        basis: Orthonormal columns Q.
        root: D^{1/2}.
    """

    basis: Float[Tensor, "n rank"]
    root: Float[Tensor, " n"]

    def __call__(self, x: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
        """Its product with each column."""
        x = x / self.root[:, None]
        return (x - self.basis @ (self.basis.T @ x)) / self.root[:, None]


def preconditioner(features: Float[Tensor, "n rank"], noise: Float[Tensor, " n"]) -> Preconditioner:
    """That of features Ψ and variances λ_i of noise, in float64.

    Args:
        features: Nyström features Ψ of the inputs.
        noise: λ_i.
    """
    root = noise.sqrt()
    n, rank = features.shape
    stacked = features.new_empty(n + rank, rank, dtype=torch.float64)
    stacked[:n] = features / root[:, None]
    stacked[n:] = torch.eye(rank)
    basis, _ = torch.linalg.qr(stacked)
    return Preconditioner(basis[:n], root)
