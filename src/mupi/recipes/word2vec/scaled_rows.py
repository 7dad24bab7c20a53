"""Many long vectors that are read and changed a few at a time, and shrink at no cost."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

PIECE = 256
"""Columns that are moved together."""

SMALLEST_SCALE = 1e-3
DITHER_SHIFT = 61


class ScaledRows:
    """A V × n matrix, zero at first; row i is scale_i times what is stored of it.

    Multiplying a row by a number changes scale_i alone, not n entries. Rows are stored in pieces of `PIECE` columns,
    one beside the other, so that the first columns of some rows are moved as whole pieces and the others not
    touched; memory that nothing was written to is not taken from the system. Row V is a spare one of zeros, for where
    a row is asked for and there is none.

    In bfloat16 a sum is rounded at random, up or down with probabilities that make its expectation exact: rounded
    to nearest, a change below 1/256 of an entry would always be lost.

    Args:
        rows: Number V of rows.
        columns: Number n of columns.
        dtype: What is stored; bfloat16 is computed with as float32.
        device: The device of the rows.
    """

    def __init__(self, rows: int, columns: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"):
        self.columns = columns
        self.pieces, self.piece = pieces(columns, torch.device(device))
        self.table = torch.zeros((rows + 1) * self.pieces, self.piece, dtype=dtype, device=device)
        self.log_scale = torch.zeros(rows + 1, dtype=torch.float64, device=device)
        self.piece_numbers = torch.arange(self.pieces, device=device)
        # A generator of its own: rounding must not depend on what else is drawn.
        self.generator = torch.Generator(device).manual_seed(0)

    @property
    def dtype(self) -> torch.dtype:
        """What rows are computed with."""
        return torch.float32 if self.table.dtype == torch.bfloat16 else self.table.dtype

    @property
    def rows(self) -> Float[Tensor, "V n"]:
        """The table without what it is filled up with."""
        return self._all()[:-1, : self.columns]

    @property
    def adds_repeats(self) -> bool:
        """Whether `add` may be given a row twice: where nothing is rounded, and sums are made in one order."""
        return self.table.dtype != torch.bfloat16 and self.table.device.type == "cpu"

    def padded(self, columns: int) -> int:
        """How many columns are moved when the first ``columns`` are asked for."""
        return self.piece * -(-columns // self.piece)

    def locate(self, ids: Int64[Tensor, " k"], columns: int) -> Int64[Tensor, " pieces"]:
        """Where the first ``columns`` of some rows are, for `read`, `write` and `add`."""
        if self.pieces == 1:
            return ids
        return (ids[:, None] * self.pieces + self.piece_numbers[: -(-columns // self.piece)]).view(-1)

    def read(self, at: Int64[Tensor, " pieces"], columns: int) -> Float[Tensor, "k columns"]:
        """Rows as stored, to be multiplied by their scales; padded with zeros to `padded` columns."""
        return self.table.index_select(0, at).view(-1, self.padded(columns)).to(self.dtype)

    def write(self, at: Int64[Tensor, " pieces"], rows: Float[Tensor, "k columns"]) -> None:
        """Store rows that were read and changed; none but the spare one may repeat."""
        stored = self._rounded(rows) if self.table.dtype == torch.bfloat16 else rows
        self.table.index_copy_(0, at, stored.view(-1, self.piece))

    def add(self, at: Int64[Tensor, " pieces"], change: Float[Tensor, "k columns"]) -> None:
        """Add to rows as stored what was divided by their scales; they may repeat if `adds_repeats`."""
        if self.table.dtype == torch.bfloat16:
            self.write(at, self.read(at, change.shape[1]).add_(change))
        else:
            self.table.index_add_(0, at, change.view(-1, self.piece))

    def shrink(
        self, ids: Int64[Tensor, "steps k"], times: Int64[Tensor, "steps k"], log_factor: float
    ) -> Float[Tensor, "steps k"]:
        """Multiply rows by exp(log_factor·times), step after step; those that repeat by each of theirs.

        Whole numbers are summed, so that the order of a sum does not matter.

        Returns:
            The scale of each row before its step.
        """
        steps, k = ids.shape
        # Uses of one row follow each other, those of earlier steps first.
        order = ids.flatten().argsort(stable=True)
        row, step, uses = ids.flatten()[order], order // k, times.flatten()[order]
        before = uses.cumsum(0) - uses
        new_row = torch.ones_like(row, dtype=torch.bool)
        new_row[1:] = row[1:] != row[:-1]
        new_step = new_row.clone()
        new_step[1:] |= step[1:] != step[:-1]
        earlier = before[_last_true(new_step)] - before[_last_true(new_row)]
        scale = torch.empty(steps * k, dtype=torch.float64, device=ids.device)
        scale[order] = (self.log_scale[row] + log_factor * earlier.double()).exp()
        self.log_scale.add_(
            torch.zeros_like(self.log_scale, dtype=torch.int64).index_add_(0, row, uses), alpha=log_factor
        )
        return scale.view(steps, k).to(self.dtype)

    def set_one(self, ids: Int64[Tensor, " k"], columns: Int64[Tensor, " k"]) -> None:
        """Make entry (ids_i, columns_i) one."""
        self.table[ids * self.pieces + columns // self.piece, columns % self.piece] = 1

    def fill(self, values: Float[Tensor, "V n"]) -> None:
        """Set all rows."""
        self.log_scale.zero_()
        self.rows.copy_(values)

    def renormalize(self) -> None:
        """Multiply small scales into their rows, before they underflow."""
        (ids,) = torch.nonzero(self.log_scale < math.log(SMALLEST_SCALE), as_tuple=True)
        rows = self._all()
        rows[ids] = (rows[ids] * self.log_scale[ids].exp()[:, None]).to(rows.dtype)
        self.log_scale[ids] = 0

    def dense(self, columns: int | None = None) -> Float[Tensor, "V columns"]:
        """All rows with their scale, or the first columns of them."""
        rows = self.rows[:, :columns]
        return rows.to(self.dtype) * self.log_scale[:-1].exp().to(self.dtype)[:, None]

    def _all(self) -> Float[Tensor, "rows_and_spare padded"]:
        return self.table.view(len(self.log_scale), -1)

    def _rounded(self, rows: Float[Tensor, "k columns"]) -> Float[Tensor, "k columns"]:
        """To bfloat16, up or down at random: random bits are added below the last that is kept, and cut off."""
        k, n = rows.shape
        # One row of random bits for all, each beginning further on in it: unbiased for each entry at little cost.
        size = n + DITHER_SHIFT * k
        bits = torch.randint(1 << 16, (size,), dtype=torch.int32, generator=self.generator, device=rows.device)
        dithered = bits.as_strided((k, n), (DITHER_SHIFT, 1)) + rows.view(torch.int32)
        return dithered.bitwise_and_(-(1 << 16)).view(torch.float32).to(torch.bfloat16)


def pieces(columns: int, device: torch.device) -> tuple[int, int]:
    """How many pieces a row of ``columns`` is stored in, and the columns of a piece.

    On a GPU it is one: there the number of operations counts, and the columns in use must not change.
    """
    piece = min(PIECE, columns) if device.type == "cpu" else columns
    return -(-columns // piece), piece


def stored_bytes(rows: int, columns: int, dtype: torch.dtype) -> int:
    """What a matrix of so many rows takes at most, the spare one included."""
    return (rows + 1) * math.prod(pieces(columns, torch.device("cpu"))) * dtype.itemsize


def sums_of_repeats(
    ids: Int64[Tensor, "steps k"], spare: int, dtype: torch.dtype
) -> tuple[Int64[Tensor, "steps k"], Float[Tensor, "steps k k"]]:
    """Of rows that repeat in a step, the first and a matrix that sums into it; the others become ``spare`` and zero."""
    same = ids[:, :, None] == ids[:, None, :]
    first = ~same.tril(-1).any(-1)
    return ids.masked_fill(~first, spare), (same & first[:, :, None]).to(dtype)


def _last_true(x: Tensor) -> Tensor:
    """For each place, the last one up to it where x is true; the first must be."""
    return torch.where(x, torch.arange(len(x), device=x.device), 0).cummax(0).values
