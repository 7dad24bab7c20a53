"""`Norm`: LayerNorm and RMSNorm with what is left of their gains and shifts at infinite width."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import non_negative, positive_int
from mupi.conventions import Conventional
from mupi.layers.normalize import normalize


@takes_numpy
class Norm(Conventional):
    """g ↦ γ·g/√(|g|² + eps) + bias_scale·b, with a number γ, initially 1, and a vector b ∈ R^r, initially 0.

    In a network of width n the shift is a vector β = Ω̃ b of its junction's span, as all biases are. The gain is a
    vector γ of n numbers, and γ∘(Ω̃ g) leaves the span of Ω̃: channels would no longer be ⟨g, z⟩ with one z. What the
    π-projection keeps of it is Ω̃ᵀ diag(γ) Ω̃ g/n, which for γ independent of Ω̃ is **its mean over the n coordinates**:
    one number. That is a choice that the π-limit makes, as the projection of its weights is.

    Args:
        rank: Rank r of the junction.
        eps: Added to the variance |g|².
        gain: Whether there is a γ.
        shift: Whether there is a b.
        bias_scale: Multiplier of b; 0 leaves it out.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    def __init__(
        self,
        rank: int,
        eps: float = 0.0,
        *,
        gain: bool = True,
        shift: bool = True,
        bias_scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        positive_int("Norm(rank=...)", rank)
        self.eps = non_negative("Norm(eps=...)", eps)
        self.bias_scale = non_negative("Norm(bias_scale=...)", bias_scale)
        self.gain = nn.Parameter(torch.ones((), dtype=dtype, device=device)) if gain else None
        self.shift = nn.Parameter(torch.zeros(rank, dtype=dtype, device=device)) if shift and bias_scale else None

    def forward(self, g: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch r"]:
        """See the class."""
        g = normalize(g, self.eps)
        if self.gain is not None:
            g = self.gain * g
        return g if self.shift is None else g + self.bias_scale * self.shift

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {"eps": self.eps, "bias_scale": self.bias_scale if self.shift is not None else 0.0}
