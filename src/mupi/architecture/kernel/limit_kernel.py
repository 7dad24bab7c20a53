"""`LimitKernel`: the NNGP or the NTK of an architecture."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mupi.activations.determinant import differentiated
from mupi.architecture.description import Description
from mupi.architecture.kernel.compiled import Compiled, compiled
from mupi.architecture.kernel.rows import Rows, dtype_of, rows
from mupi.architecture.kernel.samples import check_alike, rows_of
from mupi.architecture.kernel.settings import Scales
from mupi.architecture.kernel.steps import Pairs
from mupi.arrays import takes_numpy
from mupi.checks import is_eager
from mupi.kernels.bounds import bound_root, check_entries
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.resolution import check_only_equal, fail_unresolved, is_coarse, unresolved
from mupi.kernels.tiles import row_blocks, tiles

BLOCK_ENTRIES = 2**18
"""Pairs of positions that a block holds, about: a megabyte in float32, with some ten temporaries of its size."""

ACCELERATOR_BLOCK_ENTRIES = 2**24
"""Enough that launching the operations costs little beside running them."""

SYMMETRIC_ROWS = 512
"""Rows of a block of a symmetric matrix, whose part right of the diagonal is computed in vain."""

CHECKPOINT_ENTRIES = 2**20
"""Entries of a block that autograd goes through at a time, with some 30 temporaries of its size."""

SMALL = 2**26
"""Bytes that are not asked of the system before they are allocated."""


@takes_numpy
@dataclass(frozen=True)
class LimitKernel:
    """The covariance at the start (NNGP) or the tangent kernel (NTK) of a network's output as its width goes to ∞.

    In NTK parametrization: a weight maps x to σ_w W x/√fan_in + σ_b b with all entries N(0, 1); see
    `Architecture.nngp` and `Architecture.ntk`, which make it, for arguments and conventions.

    The result has the dtype of the inputs, and of integers torch's default; their ``x.double()`` is taken for float64.

    Beside the result, a call holds a few blocks; under autograd it recomputes them in the backward pass. Angles below
    4√eps count as 0. Derivatives of any order exist, by autograd and `torch.func`; those that diverge for a kinked φ at
    parallel inputs count as their mean over directions. Where a variance is so large that its rounding would show, all
    is computed in float64; for rectifiers and polynomials it never does.

    Args:
        net: The network.
        tangent: Whether it is the tangent kernel.
        scales: σ's and rates of each node that has parameters.
        each: Whether there is an output at each position, so that rows and columns are pairs (sample, position).
        name: What it is called in messages.
    """

    net: Description
    tangent: bool
    scales: tuple[tuple[int, Scales], ...]
    each: bool = False
    name: str = "LimitKernel"

    def __getstate__(self) -> dict:
        """The fields, without what is made of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict) -> None:
        """The fields."""
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __call__(self, x1: Shaped[Tensor, "n ..."], x2: Shaped[Tensor, "m ..."] | None = None) -> Tensor:
        """The kernel of every sample of ``x1`` with every sample of ``x2``, by default ``x1``; differentiable.

        Args:
            x1: Samples in the axes of the network's input, or flattened to rows.
            x2: Other samples, one row each.

        Raises:
            ValueError: For inputs that are not finite, of the network's axes and one dtype, or so large or small that
                the kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤ √(k(x, x) k(x', x')), or that not even
                float64 tells their angles where the kernel depends on them; or if memory does not suffice.
        """
        same = x2 is None or x2 is x1
        x1 = rows_of(f"{self.name}(x1)", x1, self.compiled.structure)
        if same:
            x2 = x1
        else:
            assert x2 is not None
            given, x2 = x2, rows_of(f"{self.name}(x2)", x2, self.compiled.structure)
            check_alike(self.name, x1, given)
        assert x2 is not None
        if differentiated(x1, x2, *self.sigmas):
            return self._differentiable(x1, x2)
        dtype = dtype_of(x1)
        self._check_memory(len(x1), len(x2), x1.device, dtype.itemsize)
        rows_1, rows_2 = self._both_rows(x1, x2)
        p = self.compiled.outputs
        out = torch.empty(len(x1), p, len(x2), p, dtype=dtype, device=x1.device)
        for i, j in self._blocks(rows_1, rows_2):
            self._fill(out[i, :, j], rows_1[i], rows_2[j])
            if same:
                self._mirror(out, i, j)
        return out.view(len(x1) * p, len(x2) * p)

    def diagonal(self, x: Shaped[Tensor, "n ..."]) -> Tensor:
        """k(x, x) of each row; differentiable.

        Raises:
            ValueError: As in a call.
        """
        x = rows_of(f"{self.name}(x)", x, self.compiled.structure)
        return self._rows("x", x).diagonal.flatten().to(dtype_of(x))

    @cached_property
    def compiled(self) -> Compiled:
        """Its steps, made once.

        Raises:
            ValueError: If there is no such kernel.
        """
        return compiled(self.net, self.tangent, self.scales, self.each)

    @cached_property
    def sigmas(self) -> list[Tensor]:
        """Those that derivatives are asked by: see `mupi.architecture.kernel.sigmas`."""
        numbers = (number for _, found in self.scales for number in (found.sigma_w, found.sigma_b))
        return [number for number in numbers if isinstance(number, Tensor)]

    def _entries(self, device: torch.device) -> int:
        return BLOCK_ENTRIES if device.type == "cpu" else ACCELERATOR_BLOCK_ENTRIES

    def _check_memory(self, n: int, m: int, device: torch.device, itemsize: int) -> None:
        """Raise ``ValueError`` if there is not enough for the result, what is kept of each input, and a block."""
        kernel, held = self.compiled, self._entries(device)
        kept = sum(prod(kernel.structure.positions(key.a)) for key in kernel.per_input)
        own = max(kernel.own[1].entries(), held) * (kernel.own[0].most_alive + 6)
        block = max(kernel.entries, held) * (kernel.pairs[0].most_alive + 6)
        needed = itemsize * (n * m * self.compiled.outputs**2 + (n + m) * kept + max(own, block))
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
            whole = len(self.compiled.structure.roots) == 1 and not symmetric
            entries = SYMMETRIC_ROWS * n if symmetric else max(1, n * m) if whole else 2**22
            for i in row_blocks(n, m, entries=entries):
                yield i, slice(0, i.stop if symmetric else m)
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

    def _fill(self, out: Tensor, rows_1: Rows, rows_2: Rows) -> None:
        """A block, tile by tile, each checked while it is in the cache."""
        structure, dtype = self.compiled.structure, rows_1.dtype
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
        n, m = len(rows_1), len(rows_2)
        for i, j in tiles(n, m, out.device) if flat else [(slice(0, n), slice(0, m))]:
            parts = {key: gram[i, j] / divisors[key[0]] for key, gram in grams.items()}
            if parts:
                positions = {key: structure.positions(key[0]) for key in parts}
                parts = {key: t.reshape(*t.shape, *positions[key]) for key, t in parts.items()}
            tile = self._tile(rows_1[i], rows_2[j], parts)
            p = self.compiled.outputs
            out[i, :, j] = tile.reshape(tile.shape[0] // p, p, tile.shape[1] // p, p)

    def _tile(self, rows_1: Rows, rows_2: Rows, grams: dict[tuple[int, int], Tensor]) -> Tensor:
        """Entries (n·outputs, m·outputs), checked."""
        dtype = rows_1.dtype
        out = self._matrix(Pairs(rows_1.side, rows_2.side, False, dtype, False, grams))
        if not is_eager(out):
            return out
        pairs, own_1, own_2 = f"{self.name}(x1, x2)", rows_1.diagonal.flatten(), rows_2.diagonal.flatten()
        check_entries(pairs, out, bound_root(own_1), bound_root(own_2))
        known = [(rows.side.values[key], φ) for rows in (rows_1, rows_2) for key, φ in self.compiled.activations]
        if any(is_coarse(φ, [variance]) for variance, φ in known):
            with torch.no_grad():
                moved = self._matrix(Pairs(rows_1.side, rows_2.side, False, dtype, True, grams))
                at = unresolved(out, moved, own_1, own_2)
                if self.compiled.mixes and at.any():  # between its own positions an input has angles that are not known
                    fail_unresolved(pairs)
                p = self.compiled.outputs
                at = at.reshape(len(rows_1), p, len(rows_2), p).any(3).any(1)
                check_only_equal(pairs, at, rows_1.x, rows_2.x, float(self.compiled.breaks_symmetry))
        return out

    def _matrix(self, pairs: Pairs) -> Tensor:
        (out,) = self.compiled.pairs[0].run(pairs)
        n, m = pairs.sizes
        p = self.compiled.outputs
        if p == 1:
            return out.reshape(n, m)
        return out.reshape(n, m, p, p).transpose(1, 2).reshape(n * p, m * p)

    def _differentiable(self, x1: Tensor, x2: Tensor) -> Tensor:
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

        def block(i: slice, j: slice) -> Tensor:
            out = checkpoint(self._block, x1[i], x2[j], use_reentrant=False, preserve_rng_state=False)
            assert isinstance(out, Tensor)
            return out

        return torch.cat([torch.cat([block(i, j) for j in columns], 1) for i in rows])

    def _block(self, x1: Tensor, x2: Tensor) -> Tensor:
        rows_1, rows_2 = self._both_rows(x1, x2)
        return self._tile(rows_1, rows_2, {}).to(dtype_of(x1))
