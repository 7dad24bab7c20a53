"""The part of batch normalisation that subtracts, for infinitely many channels."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import positive_int
from mupi.distributed.joint_module import JointModule

SLOWEST = 0.1
"""Share of the newest batch in the running mean, once there were ten."""


@takes_numpy
class Center(JointModule):
    """g ↦ g − E g, the mean over all inputs: images of the batch, and their positions.

    Channel z has the mean ⟨E g, z⟩ over the batch, so this is what subtracting each channel's mean is at every
    width. Of several processes that train together the batch is that of all. As in batch normalisation, a running mean
    stands for the batch's when the module does not train. (Division by each channel's deviation (zᵀ Cov(g) z)^{1/2} has
    no such form: the limit would no longer be Gaussian.)

    Args:
        rank: Rank r of the junction.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    mean: Float[Tensor, " r"]
    batches: Float[Tensor, ""]

    def __init__(self, rank: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None):
        super().__init__()
        positive_int("Center(rank=...)", rank)
        self.register_buffer("mean", torch.zeros(rank, dtype=dtype, device=device))
        self.register_buffer("batches", torch.zeros((), dtype=dtype, device=device))

    def forward(self, g: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch r"]:
        """The same less its mean."""
        if not self.training:
            return g - self.mean
        together = self.together()
        if together is not None:
            mean = together.mean(g.reshape(-1, g.shape[-1]))
        elif g.numel() == 0:
            return g  # no inputs have no mean
        else:
            mean = g.mean(tuple(range(g.ndim - 1)))
        with torch.no_grad():
            # A batch whose mean is NaN or infinite shows in the output; it does not spoil all batches after it.
            counts = torch.isfinite(mean).all()
            self.batches += counts
            share = (1 / self.batches.clamp_min(1)).clamp_min(SLOWEST)
            self.mean.lerp_(torch.where(counts, mean, self.mean), share)
        return g - mean

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"{len(self.mean)}"
