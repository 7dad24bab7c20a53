"""Residual branches in a graph: what is added to a stream of values that it reads, and which weights come last in it.

An `Add` of a stream and a term that depends on the stream is a residual sum. A number that the term is multiplied by
can be in parameters instead, where the term is linear in them: the walk from the sum back through what is linear finds
these, or what stands in their way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from mupi.activations import Activation
from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Description,
    Dropout,
    Embed,
    Flatten,
    Join,
    Multiply,
    Node,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
)

LINEAR = (AveragePool, Center, Dropout, Flatten, Permute, Reshape, Scale, Select)
"""Operations that read one value, and are linear in it."""


@dataclass(frozen=True)
class Branch:
    """A residual branch.

    Attributes:
        where: The line of the sum, and the name of the term.
        parameters: Names of all its parameters.
        last: Those that it is linear in: a number that multiplies the branch can be in them.
        factors: What multiplies the branch behind these, one number for each place of theirs.
        stream: What multiplies the stream that it is added to.
        obstacle: Why no parameter can carry a number; empty if some can.
        function: What it computes, but for ``factors``: equal where branches are copies of each other.
    """

    where: str
    parameters: frozenset[str]
    last: frozenset[str]
    factors: tuple[float, ...]
    stream: float
    obstacle: str
    function: tuple[str, ...]


def branches(net: Description) -> tuple[Branch, ...]:
    """All residual branches of a graph.

    Args:
        net: What `mupi.trace` read.
    """
    return tuple(_Graph(net).branches())


@dataclass
class _Walk:
    """From a term back to the parameters that it is linear in."""

    visited: set[int] = field(default_factory=set)
    ways: set[tuple[int, int, int]] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    ends: list[tuple[int, float]] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)


class _Graph:
    """Who comes before whom."""

    def __init__(self, net: Description):
        self.net = net
        self.before: list[set[int]] = []
        for place, node in enumerate(net.nodes):
            self.before.append({place}.union(*(self.before[i] for i in node.inputs)))
        self.names: dict[tuple[str, str], str] = {(u.node, u.kind): p.name for p in net.parameters for u in p.uses}
        self.whole = {p.name for p in net.parameters if len(p.uses) == 1 and not p.uses[0].cuts}

    def branches(self) -> Iterator[Branch]:
        """In order of their sums."""
        for place, node in enumerate(self.net.nodes):
            if isinstance(node.operation, Add):
                for term, other in (node.inputs, node.inputs[::-1]):
                    stream, factor = self.stream(other)
                    if term not in stream and any(i in self.before[term] for i in stream):
                        yield self.branch(place, term, other, stream, factor)

    def stream(self, place: int) -> tuple[set[int], float]:
        """A value and all that it is a sum of; and what the first of these is multiplied by on the way."""
        found, todo, factors = set(), [(place, 1.0)], {}
        while todo:
            at, factor = todo.pop()
            if at in found:
                continue
            found.add(at)
            node = self.net.nodes[at]
            if isinstance(node.operation, Scale):
                factor *= node.operation.factor
            if isinstance(node.operation, (Add, *LINEAR)):
                todo += [(i, factor) for i in node.inputs]
            else:
                factors[at] = factor
        return found, factors[min(factors)]

    def branch(self, place: int, term: int, other: int, stream: set[int], factor: float) -> Branch:
        """The branch whose end is ``term``, added to ``other`` in ``place``."""
        net = self.net
        own = self.members(term, other, stream)
        walk = _Walk()
        self.walk(term, 1.0, self.before[other], walk)
        for i in sorted(walk.visited):
            ways = ((i, j, k) for j in net.readers[i] for k, read in enumerate(net.nodes[j].inputs) if read == i)
            if elsewhere := [j for i, j, k in ways if j != place and (i, j, k) not in walk.ways]:
                reader = _line(net.nodes[elsewhere[0]])
                walk.obstacles.append(f"{_line(net.nodes[i])} is read by {reader} too, which would be multiplied")
        last = {name for i, _ in walk.ends for name in self.parameters(net.nodes[i])}
        walk.obstacles += [f"`{name}` is used elsewhere too" for name in sorted(last - self.whole)]
        parameters = {name for i in own for name in self.parameters(net.nodes[i])}
        node, line = net.nodes[term], net.nodes[place].source
        return Branch(
            f"{line} ({node.name})" if line else node.name,
            frozenset(parameters),
            frozenset() if walk.obstacles else frozenset(last),
            tuple(factor for _, factor in walk.ends),
            factor,
            walk.obstacles[0] if walk.obstacles else "",
            self.function(own, walk.passed),
        )

    def members(self, term: int, other: int, stream: set[int]) -> list[int]:
        """The nodes of a branch: before the term, not before the stream; behind the stream, or for the term alone."""
        own: set[int] = set()
        for i in sorted(self.before[term] - self.before[other], reverse=True):
            alone = i == term or all(j in own for j in self.net.readers[i])
            if alone or any(j in self.before[i] for j in stream):
                own.add(i)
        return sorted(own)

    def parameters(self, node: Node) -> list[str]:
        """Names of a node's parameters."""
        found = (
            self.names.get((node.name, kind)) or self.names.get((node.owner, kind))
            for kind in ("weight", "bias", "gain", "shift")
        )
        return [name for name in found if name]

    def walk(self, place: int, factor: float, before: set[int], found: _Walk) -> None:
        """Back from a value through what it is linear in."""
        node = self.net.nodes[place]
        found.visited.add(place)
        match node.operation:
            case _ if place in before:
                found.obstacles.append("the branch passes what it reads straight on")
                found.ends.append((place, factor))
            case Dense() | Conv() | Embed() | Table():
                found.ends.append((place, factor))
            case Normalize(gain=True):
                found.ends.append((place, factor))
            case Normalize():
                found.obstacles.append(f"it ends in a normalization without a gain, {_line(node)}")
                found.ends.append((place, factor))
            case Scale():
                found.passed.add(place)
                self.step(place, 0, factor * node.operation.factor, before, found)
            case AveragePool() | Center() | Dropout() | Flatten() | Permute() | Reshape() | Select():
                self.step(place, 0, factor, before, found)
            case Add() | Join():
                for k in range(len(node.inputs)):
                    self.step(place, k, factor, before, found)
            case Attention():
                self.step(place, 2, factor, before, found)
            case Activate(activation) if homogeneous(activation):
                self.step(place, 0, factor, before, found)
            case Multiply():
                self.step_of_product(place, factor, before, found)
            case _:
                found.obstacles.append(f"it ends in `{node.operation}`, {_line(node)}, in which it is not linear")
                found.ends.append((place, factor))

    def step(self, place: int, k: int, factor: float, before: set[int], found: _Walk) -> None:
        """On to the k-th value that a node reads."""
        i = self.net.nodes[place].inputs[k]
        found.ways.add((i, place, k))
        self.walk(i, factor, before, found)

    def step_of_product(self, place: int, factor: float, before: set[int], found: _Walk) -> None:
        """One of two factors carries the number: the first that can."""
        tried = [_Walk(), _Walk()]
        for k, walk in enumerate(tried):
            self.step(place, k, factor, before, walk)
        chosen = next((walk for walk in tried if not walk.obstacles), tried[0])
        found.visited |= chosen.visited
        found.ways |= chosen.ways
        found.passed |= chosen.passed
        found.ends += chosen.ends
        found.obstacles += chosen.obstacles

    def function(self, own: list[int], passed: set[int]) -> tuple[str, ...]:
        """Operations and what they read, within the branch, without numbers that were passed."""
        order = {i: str(k) for k, i in enumerate(i for i in own if i not in passed)}

        def read(i: int) -> str:
            return read(self.net.nodes[i].inputs[0]) if i in passed else order.get(i, "·")

        nodes = self.net.nodes
        return tuple(f"{nodes[i].operation} of {', '.join(map(read, nodes[i].inputs))}" for i in order)


def _line(node: Node) -> str:
    return f"{node.name} ({node.source})" if node.source else node.name


def homogeneous(activation: Activation) -> bool:
    """Whether φ(cx) = cφ(x) for c > 0.

    Args:
        activation: The activation φ.
    """
    try:
        hash(activation)
    except TypeError:  # a user's own
        return _homogeneous(activation)
    return _known(activation)


def _homogeneous(activation: Activation) -> bool:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    with torch.no_grad():
        return all(torch.allclose(activation(c * x), c * activation(x), rtol=1e-9, atol=1e-9) for c in (0.3, 7.0))


_known = lru_cache(maxsize=64)(_homogeneous)
