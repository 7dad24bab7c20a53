"""The linear system of kernel ridge regression by products with tiles, of which as few are kept as one likes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from mupi.distributed.processes import ALONE, Processes
from mupi.kernels.given import Kernel, check_symmetric, kernel_matrix
from mupi.kernels.ridge_system import OWNER

Step = Callable[[], None]
R = TypeVar("R")

END, PRODUCT, REST = range(3)
"""What the first of several processes asks the others for."""


@dataclass
class TiledSystem:
    """A = k(X, X) + diag(λ_i), of which there are products only.

    Tiles on and below the diagonal are computed at each product, except for the first ones, which are kept. Of several
    processes each has every p-th tile; one of them leads, and the others compute their shares of its products.

    Attributes:
        kernel: The kernel k.
        X: Training inputs.
        noise: λ_i in float64.
        side: Rows and columns of a tile.
        memory: Bytes of tiles that are kept, by each process.
        processes: Those that share the tiles.
    """

    kernel: Kernel
    X: Float[Tensor, "n d"]
    noise: Float[Tensor, " n"]
    side: int
    memory: int
    processes: Processes = ALONE
    _kept: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _bytes: int = 0

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile of this process."""
        n, together = len(self.X), self.processes.together
        parts = [slice(start, min(start + self.side, n)) for start in range(0, n, self.side)]
        every = [(rows, columns) for i, rows in enumerate(parts) for columns in parts[: i + 1]]
        return every if together is None else every[together.rank :: together.size]

    def led(self, do: Callable[[], R]) -> R:
        """What the first process gets by doing something with products, of which all compute their shares meanwhile.

        Args:
            do: Done in the first one only.
        """
        if self.processes.together is None:
            return do()

        def lead() -> R:
            try:
                return do()
            finally:
                self._ask(END, self.noise[:0, None])

        if not self.processes.first:
            self._serve()
        return self.processes.from_first(lead)

    def product(self, x: Float[Tensor, "n columns"], step: Step) -> Float[Tensor, "n columns"]:
        """A x in float64.

        Args:
            x: Columns in float64.
            step: Called after each tile.
        """
        self._ask(PRODUCT, x)
        return self._share(PRODUCT, x, step)[0]

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
        self._ask(REST, x)
        total, squared = self._share(REST, x, step)
        return b - total, torch.stack([(x.square() * squared).sum(0), squared.sum(0)])

    def _share(self, what: int, x: Float[Tensor, "n columns"], step: Step) -> Float[Tensor, "_ n columns"]:
        """A x, and of a rest k² x² too: of all tiles in the first process, of this one's in others."""
        sums = x.new_zeros(what, *x.shape)
        if self.processes.first:
            sums[0] = self.noise[:, None] * x
        for rows, columns, tile in self._tiles():
            tile = tile.double()
            _add(sums[0], rows, columns, tile, x)
            if what == REST:
                _add(sums[1], rows, columns, tile.square(), x.square())
            step()
        if self.processes.together is not None:
            dist.reduce(sums, group_dst=0, group=self.processes.together.group)
        return sums

    def _ask(self, what: int, x: Float[Tensor, "n columns"]) -> None:
        """Tell the other processes what is to be computed of which columns."""
        together = self.processes.together
        if together is not None:
            together.from_first(torch.tensor([what, x.shape[1]], device=x.device))
            if what != END:
                together.from_first(x)

    def _serve(self) -> None:
        """Compute shares as long as the first process asks for them."""
        together, X = self.processes.together, self.X
        assert together is not None
        while True:
            asked = torch.zeros(2, dtype=torch.int64, device=X.device)
            together.from_first(asked)
            what, columns = asked.tolist()
            if what == END:
                return
            x = torch.empty(len(X), columns, dtype=torch.float64, device=X.device)
            together.from_first(x)
            self._share(what, x, lambda: None)

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
