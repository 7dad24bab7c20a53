"""Operations between positions on tensors (*batch, *positions, k)."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from mupi.architecture.operation import Operation
from mupi.architecture.positions import AveragePool, Permute, Reshape, Select
from mupi.features import AveragePool as BlockAverages


def moved(x: Tensor, operation: Operation, positions: tuple[int, ...]) -> Tensor:
    """An operation that moves, selects or averages positions.

    Args:
        x: Of shape (*batch, *positions, k).
        operation: An `AveragePool`, `Reshape`, `Permute` or `Select`.
        positions: Axes that are none of the batch; only their number counts.
    """
    batch = x.ndim - 1 - len(positions)
    match operation:
        case AveragePool(()):
            return x.mean(tuple(range(batch, x.ndim - 1)))
        case AveragePool(size, stride):
            if len(size) == 2 and is_block(operation, positions):
                return BlockAverages(*size)(x)
            return _average(x, batch, size, stride)
        case Reshape(axes):
            return x.reshape(*x.shape[:batch], *axes, x.shape[-1])
        case Permute(order):
            return x.permute(*range(batch), *(batch + i for i in order), x.ndim - 1)
        case Select(start, stop):
            return x.select(batch, start) if stop is None else x.narrow(batch, start, stop - start)
    raise AssertionError(operation)


def moved_data(x: Tensor, operation: Operation, axes: tuple[int, ...]) -> Tensor:
    """The same of data, whose channels are an axis as the others are for `Reshape` and `Permute`."""
    if isinstance(operation, Reshape | Permute):
        return moved(x[..., None], operation, axes)[..., 0]
    return moved(x, operation, axes[:-1])


def is_block(operation: Operation, positions: tuple[int, ...]) -> bool:
    """Whether it is the average over blocks that fill the positions."""
    if not isinstance(operation, AveragePool) or not operation.size or operation.stride != operation.size:
        return False
    return all(n % k == 0 for n, k in zip(positions, operation.size, strict=True))


def _average(x: Tensor, batch: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Over blocks that may overlap, or leave positions out."""
    grids = x.reshape(prod(x.shape[:batch]), *x.shape[batch:]).movedim(-1, 1)
    average = (nn.functional.avg_pool1d, nn.functional.avg_pool2d, nn.functional.avg_pool3d)[len(size) - 1]
    out = average(grids, size, stride).movedim(1, -1)
    return out.reshape(*x.shape[:batch], *out.shape[1:])


def grid(positions: tuple[int, ...]) -> tuple[int, int]:
    """As two axes, which the layers take: one is the row of an image of one row, more than two are all in one."""
    return (positions[0], positions[1]) if len(positions) == 2 else (1, prod(positions))


@dataclass(frozen=True)
class Move:
    """Operations between positions, one after the other, of tensors whose positions are a `grid`, or as they are.

    Attributes:
        moves: The operations, with the positions that each is applied to.
        after: The positions behind them.
        grids: Whether positions are two axes, before and after.
    """

    moves: tuple[tuple[Operation, tuple[int, ...]], ...]
    after: tuple[int, ...]
    grids: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """The map."""
        if self.grids:
            x = x.reshape(*x.shape[:-3], *self.moves[0][1], x.shape[-1])
        for operation, positions in self.moves:
            x = moved(x, operation, positions)
        return x.reshape(*x.shape[: x.ndim - 1 - len(self.after)], *grid(self.after), x.shape[-1]) if self.grids else x


def aligned(x: Tensor, y: Tensor, axes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """With as many axes of positions each; those that one of them does not have are the first."""
    more = max(axes)

    def longer(v: Tensor, own: int) -> Tensor:
        batch = v.ndim - 1 - own
        return v if own == more else v.reshape(*v.shape[:batch], *[1] * (more - own), *v.shape[batch:])

    return longer(x, axes[0]), longer(y, axes[1])


def joined(x: Tensor, y: Tensor, axes: int) -> Tensor:
    """One after the other along the first of some axes, behind the same batch."""
    return torch.cat([x, y], -axes)
