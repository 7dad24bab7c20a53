"""The first layer, from data to the first junction; and every other weight that follows no nonlinearity."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import last_axis, non_negative, positive_int
from mupi.conventions import Conventional
from mupi.parameters import MatrixModule, matmul


@takes_numpy
class DenseMatrix(Conventional, MatrixModule):
    """x ↦ scale·(x A + bias_scale·β), an ordinary matrix A of shape (d, r) with columns of norm 1 at the start.

    >>> layer = mupi.DenseMatrix(3, 5)
    >>> layer(torch.randn(7, 3)).shape
    torch.Size([7, 5])
    >>> layer.weight.detach().norm(dim=0).round(decimals=4)  # of the columns
    tensor([1., 1., 1., 1., 1.])

    Args:
        d_in: Dimension d of the inputs.
        rank: Rank r of the junction that it writes.
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        generator: Draws the matrix; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    def __init__(
        self,
        d_in: int,
        rank: int,
        *,
        scale: float = 1.0,
        bias_scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        positive_int("DenseMatrix(d_in=...)", d_in)
        positive_int("DenseMatrix(rank=...)", rank)
        non_negative("DenseMatrix(scale=...)", scale)
        non_negative("DenseMatrix(bias_scale=...)", bias_scale)
        self.scale = scale
        self.bias_scale = bias_scale
        start = torch.randn(d_in, rank, dtype=torch.float64, generator=generator)
        start = nn.functional.normalize(start, dim=0)
        self.weight = nn.Parameter(start.to(device=device, dtype=dtype or torch.get_default_dtype()))
        self.bias = nn.Parameter(self.weight.new_zeros(rank)) if bias_scale else None

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch rank"]:
        """scale·(x A + bias_scale·β)."""
        last_axis("x", x, len(self.weight), self.weight.dtype)
        g = matmul(x.reshape(-1, len(self.weight)), self.weight).reshape(*x.shape[:-1], self.weight.shape[1])
        if self.bias is not None:
            g = g + self.bias_scale * self.bias
        return self.scale * g

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {"scale": self.scale, "bias_scale": self.bias_scale if self.bias is not None else 0.0}

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, scale={self.scale}, bias_scale={self.bias_scale}"
