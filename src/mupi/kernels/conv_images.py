"""Images as a convolutional kernel reads them, and sums of a tensor with itself moved."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images times ``scale``, and without it K^1(p, p), …, K^L(p, p) of each."""

    pixels: Float[Tensor, "n channels height width"]
    scale: float
    variances: list[Float[Tensor, "n height width"]]

    def __getitem__(self, i: slice) -> "Images":
        """Some of them."""
        return Images(self.pixels[i], self.scale, [v[i] for v in self.variances])


def moved_sum(moment: Tensor, axes: tuple[int, ...], reach: int) -> Tensor:
    """Σ_{|s| ≤ reach} of the tensor moved by s along all ``axes`` at once, zeros coming in."""
    total, size = moment.clone(), moment.shape[axes[0]]
    for s in range(1, min(reach, size - 1) + 1):
        to, source = total, moment
        for axis in axes:
            to, source = to.narrow(axis, 0, size - s), source.narrow(axis, s, size - s)
        to += source
        to, source = total, moment
        for axis in axes:
            to, source = to.narrow(axis, s, size - s), source.narrow(axis, 0, size - s)
        to += source
    return total
