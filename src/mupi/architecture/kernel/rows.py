"""Inputs of a kernel, as the blocks of its matrix need them: what is computed of each by itself, and k(x, x)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mupi.architecture.kernel.averages import over_offsets
from mupi.architecture.kernel.compiled import Compiled
from mupi.architecture.kernel.forms import Weight
from mupi.architecture.kernel.samples import data_of, shrinkable
from mupi.architecture.kernel.steps import Pairs, Side
from mupi.checks import is_eager
from mupi.kernels.bounds import check_diagonal, check_sizes
from mupi.kernels.inner_products import shrunk
from mupi.kernels.resolution import UNRESOLVED, fail_unresolved, is_coarse


@dataclass(frozen=True)
class Rows:
    """Inputs (n, d), what was computed of each, and k(x, x) of each, (n, outputs), by each kernel."""

    x: Tensor
    side: Side
    diagonals: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: slice) -> "Rows":
        """Some of them."""
        if i.start == 0 and i.stop >= len(self):
            return self
        return Rows(self.x[i], self.side[i], tuple(diagonal[i] for diagonal in self.diagonals))

    @property
    def dtype(self) -> torch.dtype:
        """In which is computed."""
        return self.diagonals[0].dtype


def dtype_of(x: Tensor) -> torch.dtype:
    """The dtype of a kernel of such inputs."""
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def rows(kernel: Compiled, argument: str, x: Tensor, entries: int, dtype: torch.dtype | None = None) -> Rows:
    """What a call needs of every input; checked, but under a transform of `torch.func`. In float64 where it must be.

    Args:
        kernel: The kernel that is asked.
        argument: The inputs as the caller knows them.
        x: The inputs, one row each.
        entries: Pairs of positions that may be held.
        dtype: In which to compute; None for that of the inputs.
    """
    narrow = dtype_of(x)
    dtype = narrow if dtype is None else dtype
    given, scale = x, 1.0
    if x.is_floating_point():
        x = x.to(dtype)
        if shrinkable(kernel.structure):
            x, scale = shrunk(x)
    side = Side(data_of(x, kernel.structure), scale, {}, x)
    own, plan = kernel.own
    parts = [own.run(Pairs(part, part, True, dtype)) for part in _parts(side, plan.entries(), entries)]
    values = [torch.cat(list(part)) for part in zip(*parts, strict=True)]
    known, moments = dict(zip(kernel.per_input, values, strict=False)), values[len(kernel.per_input) :]
    coarse = any(is_coarse(φ, [known[key]]) for key, φ in kernel.activations)
    if dtype != torch.float64 and coarse:
        wide = rows(kernel, argument, given, entries, torch.float64)
        if is_eager(x):
            for diagonal in wide.diagonals:
                check_diagonal(argument, diagonal.flatten().to(narrow))
        return wide
    side = Side(side.roots, scale, known, x)
    if is_eager(x):
        seen = [
            (moment, _seen(kernel, place, side, moment)) for place, moment in zip(kernel.unbiased, moments, strict=True)
        ]
        check_sizes(argument, dtype, seen, [known[key] for key, _ in kernel.activations])
    diagonals = _diagonals(kernel, side, dtype, entries)
    if is_eager(x):
        for diagonal in diagonals:
            check_diagonal(argument, diagonal.flatten())
        if coarse and kernel.mixes:
            others = _diagonals(kernel, side, dtype, entries, moved=True)
            for diagonal, moved in zip(diagonals, others, strict=True):
                if not ((moved - diagonal).abs() <= UNRESOLVED * diagonal.abs()).all():
                    fail_unresolved(argument)
    return Rows(x, side, diagonals)


def _parts(side: Side, size: int, entries: int) -> list[Side]:
    """Some inputs at a time."""
    step = max(1, entries // max(size, side.like.shape[1] // 16, 1))
    return [side[i : i + step] for i in range(0, max(1, len(side)), step)]


def _diagonals(
    kernel: Compiled, side: Side, dtype: torch.dtype, entries: int, moved: bool = False
) -> tuple[Tensor, ...]:
    """Every input with itself, by each kernel."""
    steps, p = kernel.pairs[0], kernel.outputs
    parts = []
    for part in _parts(side, kernel.entries, entries):
        found, n = steps.run(Pairs(part, part, True, dtype, moved)), len(part)
        parts.append([own.reshape(n, p, p).diagonal(0, 1, 2) if p > 1 else own.reshape(n, 1) for own in found])
    return tuple(torch.cat(of_parts) for of_parts in zip(*parts, strict=True))


def _seen(kernel: Compiled, place: int, side: Side, moment: Tensor) -> Tensor:
    """Where a weight reads data that are not 0; looked at only if some ``moment`` of them is 0."""
    if not (moment.detach() == 0).any():
        return torch.zeros_like(moment, dtype=torch.bool)
    fact = kernel.structure[place]
    assert isinstance(fact.form, Weight)
    there = (side.roots[fact.inputs[0]].detach() != 0).any(-1)
    if fact.form.conv is None:
        return there
    axes = [(1 + i,) for i in range(len(fact.form.conv.size))]
    return over_offsets(there.to(side.like.dtype), fact.form.conv, axes) > 0
