"""A kernel as a list of steps: which quantities are computed in which order, each from those before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any

import torch
from torch import Tensor

from mupi.activations.arcs import Split, split
from mupi.architecture.offsets import patches
from mupi.architecture.weights import Conv


@dataclass(frozen=True)
class Key:
    """A quantity.

    Attributes:
        kind: "moment" E a(p) b(p'), "tangent" Σ_θ ∂a(p)/∂θ ∂b(p')/∂θ of a coordinate; of data "gram"; and others that
            are parts of these.
        a: The place of a value.
        b: The place of another.
        everywhere: Whether for all pairs of positions; if not, for p = p'.
    """

    kind: str
    a: int
    b: int = -1
    everywhere: bool = False


class Side:
    """Some inputs, as one side of a kernel.

    Args:
        roots: Data that weights read, times ``scale``.
        scale: By what they are shrunk, so that their squares are numbers.
        values: What was computed of each input by itself.
        like: The inputs as they came: their number, and their device.
        part_of: Of which inputs they are some.
    """

    def __init__(
        self,
        roots: dict[int, Tensor],
        scale: float,
        values: dict[Key, Tensor],
        like: Tensor,
        part_of: "tuple[Side, slice] | None" = None,
    ):
        self.roots = roots
        self.scale = scale
        self.values = values
        self.like = like
        self._part_of = part_of
        self._splits: dict[Key, Split | None] = {}
        self._patches: dict[tuple[int, Conv], Tensor] = {}

    def __len__(self) -> int:
        return len(self.like)

    def __getitem__(self, rows: slice) -> "Side":
        """Some of the inputs."""
        if rows.start == 0 and rows.stop >= len(self):
            return self
        roots = {place: x[rows] for place, x in self.roots.items()}
        values = {key: value[rows] for key, value in self.values.items()}
        return Side(roots, self.scale, values, self.like[rows], (self, rows))

    def split(self, key: Key) -> Split | None:
        """Roots of variances that are among the values, for `arcs.rectified`: made once for all parts."""
        if key not in self._splits:
            if self._part_of is None:
                self._splits[key] = split(self.values[key]) if key in self.values else None
            else:
                whole, rows = self._part_of
                found = whole.split(key)
                self._splits[key] = None if found is None else found[:, rows]
        return self._splits[key]

    def patches(self, place: int, conv: Conv) -> Tensor:
        """What a convolution reads of the data at a place, (n, *places, k·d): made once for all parts."""
        if (place, conv) not in self._patches:
            if self._part_of is None:
                self._patches[place, conv] = patches(conv, self.roots[place])
            else:
                whole, rows = self._part_of
                self._patches[place, conv] = whole.patches(place, conv)[rows]
        return self._patches[place, conv]


@dataclass
class Pairs:
    """What steps are run on: all of the left with all of the right, or, paired, one by one.

    Attributes:
        left: Inputs of the kernel's rows.
        right: Inputs of the kernel's columns.
        paired: Whether rows and columns are paired one by one.
        dtype: Floating dtype of what is computed.
        moved: Whether angles are moved by as much as rounding hides.
        grams: Moments of data that were computed for a larger block.
    """

    left: Side
    right: Side
    paired: bool
    dtype: torch.dtype
    moved: bool = False
    grams: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Those of the axes of pairs of inputs."""
        return (len(self.left),) if self.paired else (len(self.left), len(self.right))

    @property
    def batch(self) -> int:
        """How many axes pairs of inputs have."""
        return 1 if self.paired else 2

    def view(self, value: Tensor, on_the_left: bool, others: int, before: int = 0) -> Tensor:
        """A value (n, positions) of each input as a factor of pairs.

        Args:
            value: The value to look at.
            on_the_left: Whether the value stands on the left.
            others: How many axes of positions the other side has of its own; 0 where p = p'.
            before: How many axes there are before those of inputs.
        """
        if not self.paired:
            value = value.unsqueeze(before + (1 if on_the_left else 0))
        if not others:
            return value
        where = value.ndim if on_the_left else before + self.batch
        return value.reshape(*value.shape[:where], *(1,) * others, *value.shape[where:])


Compute = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """A quantity, the places of the steps that it reads, and how: a function of `Pairs` and what they came to."""

    key: Key
    reads: tuple[int, ...]
    compute: Compute


@dataclass(frozen=True)
class Program:
    """Steps in order, and which of them are wanted."""

    steps: tuple[Step, ...]
    wanted: tuple[int, ...]

    @cached_property
    def last_reader(self) -> tuple[tuple[int, ...], ...]:
        """For each step what nobody needs after it."""
        last: dict[int, int] = {}
        for i, step in enumerate(self.steps):
            last[i] = i
            for j in step.reads:
                last[j] = i
        kept = set(self.wanted)
        out: list[list[int]] = [[] for _ in self.steps]
        for j, i in last.items():
            if j not in kept:
                out[i].append(j)
        return tuple(map(tuple, out))

    def run(self, pairs: Pairs) -> list[Any]:
        """What is wanted."""
        values: list[Any] = [None] * len(self.steps)
        for i, (step, done) in enumerate(zip(self.steps, self.last_reader, strict=True)):
            values[i] = step.compute(pairs, *(values[j] for j in step.reads))
            for j in done:
                values[j] = None
        return [values[j] for j in self.wanted]

    @cached_property
    def most_alive(self) -> int:
        """How many quantities are held at once."""
        alive = most = 0
        for done in self.last_reader:
            alive += 1
            most = max(most, alive)
            alive -= len(done)
        return most


def in_best_order(program: Program) -> Program:
    """The same steps; each as soon as it can be, the last in the list first, if fewer quantities are held then.

    A list that makes all moments before the first tangent holds what the tangents read, of every layer.
    """
    readers: dict[int, list[int]] = {}
    missing = [len(set(step.reads)) for step in program.steps]
    for i, step in enumerate(program.steps):
        for j in set(step.reads):
            readers.setdefault(j, []).append(i)
    ready = [-i for i, count in enumerate(missing) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        i = -heappop(ready)
        order.append(i)
        for k in readers.get(i, []):
            missing[k] -= 1
            if not missing[k]:
                heappush(ready, -k)
    places = {i: place for place, i in enumerate(order)}
    steps = (program.steps[i] for i in order)
    moved = tuple(Step(step.key, tuple(places[j] for j in step.reads), step.compute) for step in steps)
    other = Program(moved, tuple(places[j] for j in program.wanted))
    return min(program, other, key=lambda p: p.most_alive)


def total(_: Pairs, *parts: Tensor) -> Tensor:
    """Their sum."""
    out = parts[0]
    for part in parts[1:]:
        out = out + part
    return out


def diagonal(positions: Sequence[int]) -> Compute:
    """p = p' of all pairs."""
    n = len(positions)

    def compute(pairs: Pairs, t: Tensor) -> Tensor:
        at = pairs.batch
        if n == 1:
            return t.diagonal(0, at, at + 1)
        size = torch.Size(positions).numel()
        flat = t.reshape(*t.shape[:at], size, size).diagonal(0, at, at + 1)
        return flat.reshape(*t.shape[:at], *positions)

    return compute
