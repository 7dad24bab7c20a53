"""`FlattenedReadout`: the last layer of a network with positions that has weights for each of them."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.layers.pi_conv2d import PiConv2d
from mupi.layers.positions import averaged, averaged_diagonal


@takes_numpy
class FlattenedReadout(PiConv2d):
    """g ↦ scale·(Σ_p C_p ψ̄(g)(p) + bias_scale·β): weights of their own for each of the positions p.

    It is the `PiConv2d` whose kernel has all of them, without padding, and one position of the output; ψ̄ is ψ averaged
    over blocks of ``pool``.

    Args:
        rank_in: r of the junction.
        rank_out: Number of outputs.
        kernel_size: Positions behind the averages, as two axes.
        pool: Sides of the blocks.
        padding: None other than 0.
        **layer: Of `PiConv2d`.
    """

    def __init__(
        self,
        rank_in: int,
        rank_out: int,
        kernel_size: tuple[int, int],
        *,
        pool: tuple[int, int] = (1, 1),
        padding: int = 0,
        **layer: Any,
    ):
        super().__init__(rank_in, rank_out, kernel_size, pool=pool, padding=padding, **layer)

    def forward(
        self, g: Float[Tensor, "batch *positions rank_in"], move: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch rank_out"]:
        """See the class.

        Raises:
            ValueError: If ``g`` has other positions.
        """
        return super().forward(self._grid(g), move)[:, 0, 0]

    def features(self, g: Float[Tensor, "batch *positions rank_in"]) -> Float[Tensor, "batch *left k"]:
        """What the weights read: φ̄(h)/√n at all positions in a finite network; at infinite width g as it is."""
        if self.width is None:
            return g
        return self.pool(self.weight.coordinates(self._grid(g))).flatten(1)

    def kernel(
        self, features1: Float[Tensor, "n *left k"], features2: Float[Tensor, "m *left k"]
    ) -> Float[Tensor, "n m"]:
        """Σ_p E φ̄(h(p))φ̄(h'(p)) between `features`; flattened ones are taken too."""
        if self.width is not None:
            return self.weight.coordinate_kernel(features1, features2)
        blocks = zip(self._blocks(features1), self._blocks(features2), strict=True)
        return torch.stack([averaged(self.weight.coordinate_kernel, b1, b2) for b1, b2 in blocks]).sum(0)

    def diagonal(self, features: Float[Tensor, "n *left k"]) -> Float[Tensor, " n"]:
        """Σ_p E φ̄(h(p))² of each."""
        if self.width is not None:
            return self.weight.coordinate_diagonal(features)
        blocks, φ = self._blocks(features), self.weight.activation
        return torch.stack([averaged_diagonal(φ, block) for block in blocks]).sum(0)

    def _grid(self, g: Tensor) -> Float[Tensor, "batch height width rank_in"]:
        """As the two axes that the layer takes."""
        sides = [k * p for k, p in zip(self.grid.size, self.pool.size, strict=True)]
        if g.ndim < 2 or g.shape[-1] != self.weight.rank_in or prod(g.shape[1:-1]) != prod(sides):
            must = f"of shape (batch, *positions, {self.weight.rank_in}) with {prod(sides)} positions"
            fail("FlattenedReadout.forward(g)", must, f"shape {tuple(g.shape)}")
        return g.reshape(len(g), *sides, g.shape[-1])

    def _blocks(self, features: Tensor) -> Float[Tensor, "blocks n positions rank_in"]:
        """The g whose φ are averaged, for each position of the kernel."""
        (h, w), (down, right), rank = self.grid.size, self.pool.size, self.weight.rank_in
        blocks = features.reshape(len(features), h, down, w, right, rank).permute(1, 3, 0, 2, 4, 5)
        return blocks.reshape(h * w, len(features), down * right, rank)
