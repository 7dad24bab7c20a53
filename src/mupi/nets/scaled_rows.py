"""Many long vectors that are read and changed a few at a time, and shrink at no cost."""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

PIECE = 256
"""Columns that are moved together."""

SMALLEST_SCALE = 1e-3
DITHER_PERIOD = 4096


class ScaledRows:
    """A V × n matrix, zero at first; row i is scale_i times what is stored of it.

    Multiplying a row by a number changes scale_i alone, not n entries. Rows are stored in pieces of `PIECE` columns,
    one beside the other, so that the first columns of some rows are moved as whole pieces and the others not
    touched; memory that nothing was written to is not taken from the system.

    In bfloat16 a sum is rounded at random, up or down with probabilities that make its expectation exact: rounded
    to nearest, a change below 1/256 of an entry would always be lost.

    Args:
        rows: V.
        columns: n.
        dtype: What is stored; bfloat16 is computed with as float32.
        device: Where.
    """

    def __init__(self, rows: int, columns: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"):
        self.columns = columns
        self.piece = min(PIECE, columns)
        self.pieces = -(-columns // self.piece)
        self.table = torch.zeros(rows * self.pieces, self.piece, dtype=dtype, device=device)
        self.log_scale = torch.zeros(rows, dtype=torch.float64, device=device)
        # A generator of its own: rounding must not depend on what else is drawn.
        self.generator = torch.Generator(device).manual_seed(0)

    @property
    def dtype(self) -> torch.dtype:
        """What rows are computed with."""
        return torch.float32 if self.table.dtype == torch.bfloat16 else self.table.dtype

    def padded(self, columns: int) -> int:
        """How many columns are moved when the first ``columns`` are asked for."""
        return self.piece * -(-columns // self.piece)

    def read(self, ids: Int64[Tensor, " k"], columns: int) -> tuple[Float[Tensor, "k columns"], Float[Tensor, " k"]]:
        """Rows as stored, and what they are to be multiplied by.

        Args:
            ids: Which rows.
            columns: How many of the first columns; the copy that is returned is padded with zeros to `padded`.
        """
        rows = self.table.index_select(0, self._pieces_of(ids, columns)).view(len(ids), -1)
        return rows.to(self.dtype), self.log_scale[ids].exp().to(self.dtype)

    def write(self, ids: Int64[Tensor, " k"], rows: Float[Tensor, "k columns"]) -> None:
        """Store rows that were read and changed; no id may repeat."""
        stored = self._rounded(rows) if self.table.dtype == torch.bfloat16 else rows
        self.table.index_copy_(0, self._pieces_of(ids, rows.shape[1]), stored.view(-1, self.piece))

    def add(self, ids: Int64[Tensor, " k"], change: Float[Tensor, "k columns"]) -> None:
        """Add to rows as stored; ids may repeat.

        Args:
            ids: Which rows.
            change: Divided by the rows' scale; of a number of columns that `padded` returns.
        """
        if self.table.dtype == torch.bfloat16:
            once, place = torch.unique(ids, return_inverse=True)
            self.write(once, self.read(once, change.shape[1])[0].index_add_(0, place, change))
        else:
            self.table.index_add_(0, self._pieces_of(ids, change.shape[1]), change.view(-1, self.piece))

    def shrink(self, ids: Int64[Tensor, " k"], log_factors: Float64[Tensor, " k"]) -> None:
        """Multiply rows by exp(log_factors), those that repeat by each of theirs."""
        self.log_scale.index_add_(0, ids, log_factors)

    def set_one(self, ids: Int64[Tensor, " k"], columns: Int64[Tensor, " k"]) -> None:
        """Make entry (ids_i, columns_i) one."""
        piece, within = columns // self.piece, columns % self.piece
        self.table[ids * self.pieces + piece, within] = 1

    def fill(self, values: Float[Tensor, "V n"]) -> None:
        """Set all rows."""
        self.log_scale.zero_()
        self.table.view(len(values), -1)[:, : self.columns] = values

    def renormalise(self) -> None:
        """Multiply small scales into their rows, before they underflow."""
        (ids,) = torch.nonzero(self.log_scale < math.log(SMALLEST_SCALE), as_tuple=True)
        rows = self.table.view(len(self.log_scale), -1)
        rows[ids] = (rows[ids] * self.log_scale[ids].exp()[:, None]).to(rows.dtype)
        self.log_scale[ids] = 0

    def dense(self, columns: int | None = None) -> Float[Tensor, "V columns"]:
        """All rows with their scale, or the first columns of them."""
        rows = self.table.view(len(self.log_scale), -1)[:, : self.columns if columns is None else columns]
        return rows.to(self.dtype) * self.log_scale.exp().to(self.dtype)[:, None]

    def _pieces_of(self, ids: Int64[Tensor, " k"], columns: int) -> Int64[Tensor, " pieces"]:
        if self.pieces == 1:
            return ids
        first = torch.arange(-(-columns // self.piece), device=ids.device)
        return (ids[:, None] * self.pieces + first).flatten()

    def _rounded(self, rows: Float[Tensor, "k columns"]) -> Float[Tensor, "k columns"]:
        """To bfloat16, up or down at random: random bits are added below the last that is kept, and cut off."""
        n = rows.shape[1]
        # One row of random bits for all, begun at a place of its own in each: unbiased for each entry at little cost.
        device = rows.device
        bits = torch.randint(1 << 16, (n + DITHER_PERIOD,), dtype=torch.int32, generator=self.generator, device=device)
        start = torch.randint(DITHER_PERIOD, (len(rows),), generator=self.generator, device=device)
        dithered = rows.view(torch.int32) + bits.unfold(0, n, 1)[start]
        return (dithered & -(1 << 16)).view(torch.float32).to(torch.bfloat16)
