"""What an operation between positions does to one side of a covariance K(p, p'), of which it is linear in each.

A covariance of two values has the positions of both, one after the other; a *side* is a linear map on the axes of one
of them. Where only pairs p = p' are kept, both are moved at once, which a map allows that takes each position from one.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Side(ABC):
    """A linear map of positions.

    Attributes:
        pointwise: Whether it acts on each position by itself, so that pairs p = p' are made of such pairs, whatever
            acts on the other side.
        local: Whether pairs p = p' are made of such pairs if the same map acts on both sides.
    """

    pointwise: ClassVar[bool] = False
    local: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, t: Tensor, at: int) -> Tensor:
        """The map of the axes that begin at ``at``."""


@dataclass(frozen=True)
class Times(Side):
    """Multiplied by a number."""

    factor: float = 1.0

    pointwise = local = True

    def __call__(self, t, at):
        """See the class."""
        return t if self.factor == 1 else self.factor * t


@dataclass(frozen=True)
class Broadcast(Side):
    """The same at positions that a value has not, or has one of."""

    old: tuple[int, ...]
    new: tuple[int, ...]

    local = True

    def __call__(self, t, at):
        """See the class."""
        behind = t.shape[at + len(self.old) :]
        t = t.reshape(*t.shape[:at], *(1,) * (len(self.new) - len(self.old)), *t.shape[at:])
        return t.expand(*t.shape[:at], *self.new, *behind)


@dataclass(frozen=True)
class Mean(Side):
    """The mean over all positions, which there are none of afterwards, or as many as attention has queries."""

    old: tuple[int, ...]
    new: tuple[int, ...] = ()

    def __call__(self, t, at):
        """See the class."""
        t = t.mean(tuple(range(at, at + len(self.old))))
        return Broadcast((), self.new)(t, at) if self.new else t


@dataclass(frozen=True)
class MeanOfEarlier(Side):
    """For each position the mean over it and those before: causal attention that is uniform."""

    def __call__(self, t, at):
        """See the class."""
        counts = torch.arange(1, t.shape[at] + 1, dtype=t.dtype, device=t.device)
        return t.cumsum(at) / counts.reshape(-1, *(1,) * (t.ndim - at - 1))


@dataclass(frozen=True)
class MeanOfBlocks(Side):
    """The means over blocks, one size and stride for each axis."""

    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __call__(self, t, at):
        """See the class."""
        for axis, (size, stride) in enumerate(zip(self.size, self.stride, strict=True), at):
            t = t.unfold(axis, size, stride).mean(-1)
        return t


@dataclass(frozen=True)
class Take(Side):
    """One position of the first axis, or some that follow one another."""

    start: int
    stop: int | None

    local = True

    def __call__(self, t, at):
        """See the class."""
        return t.select(at, self.start) if self.stop is None else t.narrow(at, self.start, self.stop - self.start)


@dataclass(frozen=True)
class Place(Side):
    """Put among zeros along the first axis, ``before`` and ``behind`` it."""

    before: int
    behind: int

    local = True

    def __call__(self, t, at):
        """See the class."""
        return functional.pad(t, (0, 0) * (t.ndim - at - 1) + (self.before, self.behind))


@dataclass(frozen=True)
class Transpose(Side):
    """Axes of positions in another order."""

    order: tuple[int, ...]

    local = True

    def __call__(self, t, at):
        """See the class."""
        n = len(self.order)
        return t.permute(*range(at), *(at + i for i in self.order), *range(at + n, t.ndim))


@dataclass(frozen=True)
class Regroup(Side):
    """Positions in other axes, in the same order."""

    old: tuple[int, ...]
    new: tuple[int, ...]

    local = True

    def __call__(self, t, at):
        """See the class."""
        assert prod(self.old) == prod(self.new)
        return t.reshape(*t.shape[:at], *self.new, *t.shape[at + len(self.old) :])
