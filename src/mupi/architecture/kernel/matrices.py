"""`Matrices`: one or both kernels of an architecture in one pass over blocks of their matrices."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mupi.activations.arcs import FEW
from mupi.activations.determinant import differentiated
from mupi.architecture.kernel.compiled import Compiled
from mupi.architecture.kernel.rows import Rows, dtype_of, rows
from mupi.architecture.kernel.samples import check_alike, rows_of
from mupi.architecture.kernel.steps import Pairs
from mupi.checks import is_eager
from mupi.kernels.bounds import bound_root, check_entries
from mupi.kernels.memory import available_memory, require_memory, reuse_freed_memory
from mupi.kernels.resolution import check_only_equal, fail_unresolved, is_coarse, unresolved
from mupi.kernels.tiles import row_blocks, tiles

BLOCK_ENTRIES = 2**17
"""Pairs of positions that a block holds, about: half a megabyte in float32, with some ten temporaries of its size."""

ACCELERATOR_BLOCK_ENTRIES = 2**24
"""Enough that launching the operations costs little beside running them."""

SYMMETRIC_ROWS = 128
"""Rows of a block on the diagonal of a symmetric matrix, whose part right of it is computed in vain."""

STRIP_ROWS = 512
"""Rows of a block elsewhere in a symmetric matrix."""

CHECKPOINT_ENTRIES = 2**20
"""Entries of a block that autograd goes through at a time, with some 30 temporaries of its size."""

SMALL = 2**26
"""Bytes that are not asked of the system before they are allocated."""


@dataclass(frozen=True)
class Matrices:
    """Kernel matrices of inputs, in the order of the kinds that were compiled.

    Args:
        compiled: Their steps.
        name: What the kernel is called in messages.
    """

    compiled: Compiled
    name: str

    def __call__(self, x1: Tensor, x2: Tensor | None) -> tuple[Tensor, ...]:
        """Those of every sample of ``x1`` with every sample of ``x2``, None for ``x1``: see `LimitKernel`."""
        same = x2 is None or x2 is x1
        x1 = rows_of(f"{self.name}(x1)", x1, self.compiled.structure)
        if same:
            x2 = x1
        else:
            assert x2 is not None
            given, x2 = x2, rows_of(f"{self.name}(x2)", x2, self.compiled.structure)
            check_alike(self.name, x1, given)
        assert x2 is not None
        if differentiated(x1, x2, *self.compiled.sigmas):
            return self._differentiable(x1, x2)
        dtype = dtype_of(x1)
        self._check_memory(len(x1), len(x2), x1.device, dtype.itemsize)
        n, m, p = len(x1), len(x2), self.compiled.outputs
        if x1.is_cpu and n * m * self.compiled.entries > FEW:
            reuse_freed_memory()
        rows_1, rows_2 = self._both_rows(x1, x2)
        outs = tuple(torch.empty(n, p, m, p, dtype=dtype, device=x1.device) for _ in self.compiled.kinds)
        for i, j in self._blocks(rows_1, rows_2):
            if same and p == 1 and i == j and i.stop - i.start == 1:
                for out, diagonal in zip(outs, rows_1.diagonals, strict=True):
                    out[i, :, j] = diagonal[i, None, None]
                continue
            self._fill([out[i, :, j] for out in outs], rows_1[i], rows_2[j])
            if same:
                for out in outs:
                    self._mirror(out, i, j)
        return tuple(out.view(n * p, m * p) for out in outs)

    def diagonals(self, x: Tensor) -> tuple[Tensor, ...]:
        """k(x, x) of each row."""
        x = rows_of(f"{self.name}(x)", x, self.compiled.structure)
        return tuple(diagonal.flatten().to(dtype_of(x)) for diagonal in self._rows("x", x).diagonals)

    def _entries(self, device: torch.device) -> int:
        return BLOCK_ENTRIES if device.type == "cpu" else ACCELERATOR_BLOCK_ENTRIES

    def _check_memory(self, n: int, m: int, device: torch.device, itemsize: int) -> None:
        """Raise ``ValueError`` if there is not enough for the result, what is kept of each input, and a block."""
        kernel, held = self.compiled, self._entries(device)
        kept = sum(prod(kernel.structure.positions(key.a)) for key in kernel.per_input)
        own = max(kernel.own[1].entries(), held) * (kernel.own[0].most_alive + 6)
        block = max(kernel.entries, held) * (kernel.pairs[0].most_alive + 6)
        entries = n * m * kernel.outputs**2
        needed = itemsize * (len(kernel.kinds) * entries + (n + m) * kept + max(own, block))
        if needed > SMALL + 100 * itemsize * held:
            require_memory(f"{self.name}(x1, x2)", needed, available_memory(device), "take fewer inputs at a time")

    def _rows(self, argument: str, x: Tensor, dtype: torch.dtype | None = None) -> Rows:
        return rows(self.compiled, f"{self.name}({argument})", x, self._entries(x.device), dtype)

    def _both_rows(self, x1: Tensor, x2: Tensor) -> tuple[Rows, Rows]:
        """Those of two sets of inputs, once if they are one, in one dtype."""
        rows_1 = self._rows("x1", x1)
        if x1 is x2:
            return rows_1, rows_1
        rows_2 = self._rows("x2", x2)
        if rows_1.dtype == rows_2.dtype:
            return rows_1, rows_2
        return self._rows("x1", x1, torch.float64), self._rows("x2", x2, torch.float64)

    def _blocks(self, rows_1: Rows, rows_2: Rows) -> Iterator[tuple[slice, slice]]:
        """Blocks of the matrix; of a symmetric one those of the lower triangle."""
        n, m, symmetric = len(rows_1), len(rows_2), rows_1 is rows_2
        if self.compiled.entries == 1 and not self.compiled.mixes:
            if symmetric:
                yield from triangle(0, n)
                return
            whole = len(self.compiled.structure.roots) == 1
            for i in row_blocks(n, m, entries=max(1, n * m) if whole else 2**22):
                yield i, slice(0, m)
            return
        side = self._side(rows_1.x.device)
        for i in range(0, n, side):
            for j in range(0, i + 1 if symmetric else m, side):
                yield slice(i, min(n, i + side)), slice(j, min(m, j + side))

    def _side(self, device: torch.device) -> int:
        """Inputs on each side of a block."""
        return max(1, int(max(1, self._entries(device) // self.compiled.entries) ** 0.5))

    def _mirror(self, out: Tensor, i: slice, j: slice) -> None:
        """Copy a block of the lower triangle to its place above, and make that on the diagonal symmetric."""
        below = slice(j.start, min(j.stop, i.start))
        if below.stop > below.start:
            out[below, :, i] = out[i, :, below].permute(2, 3, 0, 1)
        if j.stop > i.start:
            block = out[i, :, i]
            n = block.shape[0] * block.shape[1]
            square = block.reshape(n, n)
            block.copy_((square.tril() + square.tril(-1).T).reshape(block.shape))

    def _fill(self, outs: list[Tensor], rows_1: Rows, rows_2: Rows) -> None:
        """A block of each matrix, tile by tile, each checked while it is in the cache."""
        structure, dtype, out = self.compiled.structure, rows_1.dtype, outs[0]
        left, right, flat = rows_1.side, rows_2.side, self.compiled.entries == 1 and not self.compiled.mixes
        grams: dict[tuple[int, int], Tensor] = {}
        divisors: dict[int, float] = {}
        if flat and not structure.net.input.integers:
            divisor = left.scale * right.scale
            for place in structure.roots:
                x, y = left.roots[place].flatten(1), right.roots[place].flatten(1)
                alone = len(structure.roots) == 1 and out.dtype == dtype and self.compiled.outputs == 1
                gram = torch.mm(x, y.T, out=out[:, 0, :, 0]) if alone else x @ y.T
                grams[place, place], divisors[place] = gram, left.roots[place].shape[-1] * divisor
        n, m, p = len(rows_1), len(rows_2), self.compiled.outputs
        for i, j in tiles(n, m, out.device) if flat else [(slice(0, n), slice(0, m))]:
            parts = {key: gram[i, j] / divisors[key[0]] for key, gram in grams.items()}
            if parts:
                positions = {key: structure.positions(key[0]) for key in parts}
                parts = {key: t.reshape(*t.shape, *positions[key]) for key, t in parts.items()}
            for out, tile in zip(outs, self._tiles(rows_1[i], rows_2[j], parts), strict=True):
                out[i, :, j] = tile.reshape(tile.shape[0] // p, p, tile.shape[1] // p, p)

    def _tiles(self, rows_1: Rows, rows_2: Rows, grams: dict[tuple[int, int], Tensor]) -> list[Tensor]:
        """Entries (n·outputs, m·outputs) of each kernel, checked."""
        dtype = rows_1.dtype
        outs = self._of_pairs(Pairs(rows_1.side, rows_2.side, False, dtype, False, grams))
        if not is_eager(outs[0]):
            return outs
        pairs = f"{self.name}(x1, x2)"
        own = [(d1.flatten(), d2.flatten()) for d1, d2 in zip(rows_1.diagonals, rows_2.diagonals, strict=True)]
        for out, (own_1, own_2) in zip(outs, own, strict=True):
            check_entries(pairs, out, bound_root(own_1), bound_root(own_2))
        known = [(rows.side.values[key], φ) for rows in (rows_1, rows_2) for key, φ in self.compiled.activations]
        if any(is_coarse(φ, [variance]) for variance, φ in known):
            with torch.no_grad():
                moved = self._of_pairs(Pairs(rows_1.side, rows_2.side, False, dtype, True, grams))
                for out, other, (own_1, own_2) in zip(outs, moved, own, strict=True):
                    at = unresolved(out, other, own_1, own_2)
                    # Between its own positions an input has angles that are not known.
                    if self.compiled.mixes and at.any():
                        fail_unresolved(pairs)
                    p = self.compiled.outputs
                    at = at.reshape(len(rows_1), p, len(rows_2), p).any(3).any(1)
                    check_only_equal(pairs, at, rows_1.x, rows_2.x, float(self.compiled.breaks_symmetry))
        return outs

    def _of_pairs(self, pairs: Pairs) -> list[Tensor]:
        """What the steps make of pairs, as matrices."""
        (n, m), p = pairs.sizes, self.compiled.outputs
        outs = self.compiled.pairs[0].run(pairs)
        if p == 1:
            return [out.reshape(n, m) for out in outs]
        return [out.reshape(n, m, p, p).transpose(1, 2).reshape(n * p, m * p) for out in outs]

    def _differentiable(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
        """By blocks, of which autograd stores the inputs only; at once where `torch.func` allows no such."""
        if not (is_eager(x1) and is_eager(x2)):
            return self._block(x1, x2)
        entries = self.compiled.entries
        if entries == 1:
            rows, columns = list(row_blocks(len(x1), len(x2), entries=CHECKPOINT_ENTRIES)), [slice(0, len(x2))]
        else:
            side = self._side(x1.device)
            rows, columns = ([slice(i, i + side) for i in range(0, max(1, len(x)), side)] for x in (x1, x2))
        if len(rows) == len(columns) == 1:
            return self._block(x1, x2)

        def block(i: slice, j: slice) -> tuple[Tensor, ...]:
            out = checkpoint(self._block, x1[i], x2[j], use_reentrant=False, preserve_rng_state=False)
            assert isinstance(out, tuple)
            return out

        lines = [[torch.cat(line, 1) for line in zip(*(block(i, j) for j in columns), strict=True)] for i in rows]
        return tuple(torch.cat(column) for column in zip(*lines, strict=True))

    def _block(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
        rows_1, rows_2 = self._both_rows(x1, x2)
        return tuple(out.to(dtype_of(x1)) for out in self._tiles(rows_1, rows_2, {}))


def triangle(start: int, stop: int) -> Iterator[tuple[slice, slice]]:
    """Blocks that cover the lower triangle of a symmetric matrix, rows and columns from ``start`` to ``stop``."""
    if stop - start <= SYMMETRIC_ROWS:
        yield slice(start, stop), slice(start, stop)
        return
    middle = (start + stop) // 2
    yield from triangle(start, middle)
    for i in range(middle, stop, STRIP_ROWS):
        yield slice(i, min(i + STRIP_ROWS, stop)), slice(start, middle)
    yield from triangle(middle, stop)
