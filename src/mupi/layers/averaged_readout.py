"""`AveragedReadout`: the last layer of a network with positions that has one output for all of them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis
from mupi.features import AveragePool
from mupi.layers.pi_linear import PiLinear
from mupi.layers.positions import averaged, averaged_diagonal, pairwise


@takes_numpy
class AveragedReadout(PiLinear):
    """g ↦ scale·(C mean_p ψ(g(p)) + bias_scale·β): a `PiLinear` that reads the average of φ over all positions p.

    Positions are all axes between the first, the batch, and the last, r; without any it is a `PiLinear`. Arguments are
    those of `PiLinear`.

    >>> readout = mupi.AveragedReadout(8, 3, features=mupi.Hermite(2), activation=mupi.ReLU())
    >>> readout(torch.randn(5, 4, 4, 8)).shape  # of five grids
    torch.Size([5, 3])
    """

    def forward(
        self, g: Float[Tensor, "*batch_and_positions rank_in"], pool: object = None
    ) -> Float[Tensor, "batch rank_out"]:
        """See the class.

        Args:
            g: The junction at each position.
            pool: None; the average is over all.

        Raises:
            ValueError: If ``g`` has no batch, or ``pool`` is given.
        """
        if pool is not None:
            fail("AveragedReadout.forward(pool=...)", "None, since it averages over all positions", pool)
        grid = self._grid(g)
        if grid.ndim == 2:
            return super().forward(grid)
        return super().forward(grid, AveragePool(*grid.shape[1:3]))[:, 0, 0]

    def features(self, g: Float[Tensor, "batch *positions rank_in"]) -> Float[Tensor, "batch *left k"]:
        """What the weight reads: mean_p φ(h(p))/√n in a finite network, (batch, n); at infinite width g as it is."""
        if self.width is None:
            return g
        grid = self._grid(g)
        u = self.weight.coordinates(grid)
        return u if u.ndim == 2 else AveragePool(*grid.shape[1:3])(u)[:, 0, 0]

    def kernel(
        self, features1: Float[Tensor, "n *left1 k1"], features2: Float[Tensor, "m *left2 k2"]
    ) -> Float[Tensor, "n m"]:
        """E φ̄(h)φ̄(h') between `features`, with φ̄ the average over positions; flattened ones are taken too."""
        if self.width is not None:
            return pairwise(self.weight.coordinate_kernel, features1, features2)
        return averaged(self.weight.coordinate_kernel, self._positions(features1), self._positions(features2))

    def diagonal(self, features: Float[Tensor, "n *left k"]) -> Float[Tensor, " n"]:
        """E φ̄(h)² of each."""
        if self.width is not None:
            return self.weight.coordinate_diagonal(features)
        return averaged_diagonal(self.weight.activation, self._positions(features))

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return super().conventions() | {"positions": "averaged"}

    def _grid(self, g: Tensor) -> Tensor:
        """With two axes of positions, or none."""
        last_axis("AveragedReadout.forward(g)", g, self.rank, self.weight.dtype)
        if g.ndim < 2:
            fail("AveragedReadout.forward(g)", "of shape (batch, *positions, rank_in)", f"shape {tuple(g.shape)}")
        if g.ndim in (2, 4):
            return g
        return g[:, :, None] if g.ndim == 3 else g.flatten(1, -2)[:, :, None]

    def _positions(self, features: Tensor) -> Float[Tensor, "n positions rank_in"]:
        rank = self.rank
        if features.ndim < 2 or features[0:1].numel() % rank:
            fail("AveragedReadout.kernel(features)", f"of shape (n, *positions, {rank})", tuple(features.shape))
        return features.flatten(1).unflatten(1, (-1, rank))
