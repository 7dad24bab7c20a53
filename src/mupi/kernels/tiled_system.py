"""The linear system of kernel ridge regression by products with tiles, of which as few are kept as one likes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.kernels.given import Kernel, check_symmetric, kernel_matrix
from mupi.kernels.ridge_system import OWNER

Step = Callable[[], None]


@dataclass
class TiledSystem:
    """A = k(X, X) + diag(λ_i), of which there are products only.

    Tiles on and below the diagonal are computed at each product, except for the first ones, which are kept.

    Attributes:
        kernel: The kernel k.
        X: Training inputs.
        noise: λ_i in float64.
        side: Rows and columns of a tile.
        memory: Bytes of tiles that are kept.
    """

    kernel: Kernel
    X: Float[Tensor, "n d"]
    noise: Float[Tensor, " n"]
    side: int
    memory: int
    _kept: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _bytes: int = 0

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile."""
        n = len(self.X)
        parts = [slice(start, min(start + self.side, n)) for start in range(0, n, self.side)]
        return [(rows, columns) for i, rows in enumerate(parts) for columns in parts[: i + 1]]

    def product(self, x: Float[Tensor, "n columns"], step: Step) -> Float[Tensor, "n columns"]:
        """A x in float64.

        Args:
            x: Columns in float64.
            step: Called after each tile.
        """
        total = self.noise[:, None] * x
        for rows, columns, tile in self._tiles():
            _add(total, rows, columns, tile.double(), x)
            step()
        return total

    def rest(
        self, b: Float[Tensor, "n columns"], x: Float[Tensor, "n columns"], step: Step
    ) -> tuple[Float[Tensor, "n columns"], Float[Tensor, "2 columns"]]:
        """b − A x in float64, and of each column Σ_ij x_i² k_ij² x_j² and Σ_ij k_ij² x_j².

        The square roots of both sums times ε/2 are what independent roundings of the entries of k add to xᵀ k x and
        to the norm of k x.

        Args:
            b: Columns in float64.
            x: As many.
            step: Called after each tile.
        """
        total, squared = self.noise[:, None] * x, torch.zeros_like(x)
        for rows, columns, tile in self._tiles():
            tile = tile.double()
            _add(total, rows, columns, tile, x)
            _add(squared, rows, columns, tile.square(), x.square())
            step()
        return b - total, torch.stack([(x.square() * squared).sum(0), squared.sum(0)])

    def release(self) -> None:
        """Keep no tile any more."""
        self._kept, self._bytes = {}, 0

    def _tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        for rows, columns in self.places:
            key = rows.start, columns.start
            if key in self._kept:
                yield rows, columns, self._kept[key]
                continue
            x = self.X[rows]
            tile = kernel_matrix(OWNER, self.kernel, x, x if rows == columns else self.X[columns])
            if rows == columns:
                check_symmetric(OWNER, tile)
            size = tile.numel() * tile.element_size()
            if self._bytes + size <= self.memory:
                # What a kernel returns may be its own to keep.
                self._kept[key] = tile = tile.clone()
                self._bytes += size
            yield rows, columns, tile


def _add(total: Tensor, rows: slice, columns: slice, tile: Tensor, x: Tensor) -> None:
    """The share of a tile, and of its mirror image, in a product."""
    total[rows] += tile @ x[columns]
    if rows != columns:
        total[columns] += tile.T @ x[rows]
