"""What a layer that reads φ of a junction says of it: features, their kernel, and how many neurons there are."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.features import Weight
from mupi.layers.positions import pairwise


class ReadsJunction:
    """A layer with a ``weight`` that reads φ of a junction at each position, as a network's readout does."""

    weight: Weight

    @property
    def width(self) -> int | None:
        """n of a finite network; None at infinite width."""
        return self.weight.width

    @property
    def rank(self) -> int:
        """r of the junction that it reads."""
        return self.weight.rank_in

    def features(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch k"]:
        """What the weight reads: φ(h)/√n in a finite network; at infinite width g, which stands for all coordinates."""
        return self.weight.coordinates(g)

    def kernel(
        self, features1: Float[Tensor, "*batch1 k"], features2: Float[Tensor, "*batch2 k"]
    ) -> Float[Tensor, "*pairs"]:
        """E φ(h)φ(h') between `features`, of shape (*batch1, *batch2); over its neurons if it is finite."""
        return pairwise(self.weight.coordinate_kernel, features1, features2)

    def diagonal(self, features: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        """E φ(h)² of each."""
        return self.weight.coordinate_diagonal(features.flatten(0, -2)).reshape(features.shape[:-1])

    @torch.no_grad()
    def read_alike(self, other: "ReadsJunction") -> None:
        """Take the neurons or the directions of another layer of the same junction; for a weight that is still 0."""
        for name, buffer in other.weight.named_buffers(recurse=False):
            self.weight.get_buffer(name).copy_(buffer)
