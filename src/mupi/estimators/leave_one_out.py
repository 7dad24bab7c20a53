"""Leave-one-out predictions of kernel regression at many ridges, from one eigendecomposition."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

RIDGES = tuple(10.0 ** (k / 2) for k in range(-10, 5))
"""10⁻⁵ … 10², relative to a kernel's mean diagonal."""


@dataclass(frozen=True)
class LeftOut:
    """What is predicted of each row, given all others.

    Attributes:
        ridge: λ in units of the kernel's mean diagonal.
        mean: Predictions.
        variance: Of the left-out target y_i, its noise λ/w_i included, in units of the process's amplitude.
        regularizer: λ itself.
    """

    ridge: float
    mean: Float[Tensor, "n k"]
    variance: Float[Tensor, " n"]
    regularizer: float


def left_out(
    K: Float[Tensor, "n n"], Y: Float[Tensor, "n k"], weight: Float[Tensor, " n"], ridges: tuple[float, ...] = RIDGES
) -> Iterator[LeftOut]:
    """Closed form (Rasmussen & Williams 2006, 5.12): with A = K + λW⁻¹ and α = A⁻¹Y, y_i − α_i/(A⁻¹)_ii.

    Args:
        K: Kernel matrix, in float64.
        Y: Targets.
        weight: w_i: the noise of a row has variance λ/w_i.
        ridges: λ in units of the mean diagonal.
    """
    root = weight.sqrt()[:, None]
    λ, Q = torch.linalg.eigh(K * root * root.T)
    projected = Q.T @ (root * Y)
    scale = float(K.diagonal().mean())
    for ridge in ridges:
        inverse = 1 / (λ.clamp_min(0) + ridge * scale)
        # Of A⁻¹ = W^{1/2} (W^{1/2} K W^{1/2} + λI)⁻¹ W^{1/2}.
        α = root * (Q @ (inverse[:, None] * projected))
        diagonal = weight * (Q.square() @ inverse)
        yield LeftOut(ridge, Y - α / diagonal[:, None], 1 / diagonal, ridge * scale)
