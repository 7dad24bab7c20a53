"""What is decided about a π-network before a number is drawn: its junctions, their ranks, and a step for each node."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.description import Description, Node
from mupi.architecture.operation import Input, Operation
from mupi.architecture.pi_values import Data, Factor, Groups, Linear
from mupi.architecture.positions import Attention, AveragePool
from mupi.architecture.rules import Rules
from mupi.architecture.shape import Width
from mupi.architecture.weights import Dense, Embed, Table
from mupi.checks import fail
from mupi.features import Expansion, Features, RandomFeatures, at_gate

Module = nn.Module | nn.Parameter


@dataclass(frozen=True)
class Options:
    """The arguments of a π-network: see `mupi.architecture.Architecture.pi`."""

    rank: int
    features: Features
    rank_head: int | None
    input_scale: float
    output_scale: float
    bias_scale: float
    readout_std: float
    like: dict[str, Any]
    """Generator, dtype and device."""

    @property
    def generator(self) -> torch.Generator | None:
        """Randomness."""
        return self.like["generator"]


def same(x: Tensor) -> Tensor:
    """What it is given."""
    return x


def apply(module: nn.Module, *values: Tensor) -> Tensor:
    """What a module makes of its inputs."""
    return module(*values)


class Step(NamedTuple):
    """What a node does with tensors.

    Attributes:
        call: A function of them, behind the module if there is one. It can be pickled.
        module: The name of the module, or of the parameter; empty for none.
        inputs: The nodes that are read, if they are others than the description says.
    """

    call: Callable[..., Any] = same
    module: str = ""
    inputs: tuple[int, ...] | None = None


class Plan:
    """The decisions, as the rules (`mupi.architecture.pi_rules`) take them one node after the other.

    Modules are made when all is decided, in an order that makes equal seeds equal functions for all features: ordinary
    weights, then the initial atoms of all others, then feature maps.

    Args:
        net: The network.
        options: The arguments.
        rules: For messages.
    """

    def __init__(self, net: Description, options: Options, rules: Rules):
        self.net, self.options, self.rules = net, options, rules
        self.junctions = Groups()
        self.heads: dict[int, int] = {}
        self.steps: list[Step] = []
        self.scales: dict[int, float] = {}
        self.roles: dict[str, str] = {}
        self.reads: dict[str, tuple[Factor, ...]] = {}
        self.shorter = takes_shorter(net)
        self._ordinary: dict[str, Callable[[], Module]] = {}
        self._atoms: dict[str, tuple[Callable[[], Expansion], Callable[[Expansion], nn.Module]]] = {}
        self._checks: list[tuple[Node, Callable[[], str]]] = []
        self._uses: dict[str, Any] = {}
        self._at: dict[int, Features] = {}

    # Junctions

    def written(self, place: int) -> Data | Linear:
        """What a weight makes: data, or a linear value at a junction of its own."""
        return Linear(place) if self.net.shapes[place].is_layer else Data()

    def size(self, place: int) -> int:
        """Of what a node makes: r of its junction, or as many channels as data have."""
        channels = self.net.shapes[place].channels
        return channels if isinstance(channels, int) else self.rank(place)

    def join(self, x: Linear, y: Linear) -> Linear:
        """The junction of two values that are added, which is one."""
        return Linear(self.junctions.join(x.junction, y.junction))

    def split(self, place: int, x: Linear, heads: int) -> None:
        """Say that the coordinates of a value are those of some heads, each with a junction of its own."""
        others = [h for j, h in self.heads.items() if self.junctions.same(j, x.junction)]
        if any(h != heads for h in others):
            self.rules.refuse(self.net.nodes[place], f"what it reads has {others[0]} heads elsewhere")
        self.heads[x.junction] = heads

    def number_of_heads(self, junction: int) -> int:
        """Whose coordinates they are; 0 for those of no attention."""
        found = [h for j, h in self.heads.items() if self.junctions.same(j, junction)]
        if len(set(found)) > 1:
            fail("pi(network)", "of as many heads wherever values are added", sorted(set(found)))
        return found[0] if found else 0

    def rank(self, junction: int) -> int:
        """r of a junction; of heads the sum of theirs."""
        heads, options = self.number_of_heads(junction), self.options
        if heads == 0:
            return options.rank
        if options.rank_head is None and options.rank % heads:
            fail("pi(rank=...)", f"a multiple of the {heads} heads", options.rank, "or give rank_head")
        return heads * (options.rank_head or options.rank // heads)

    def whole(self, place: int, junction: int, what: str) -> None:
        """Refuse, when all is decided, a junction of several heads: their coordinates are of several distributions."""
        self.later(
            place,
            lambda: (
                f"{what} the coordinates of {self.number_of_heads(junction)} heads, which are of as many distributions"
                if self.number_of_heads(junction) > 1
                else ""
            ),
        )

    def later(self, place: int, reason: Callable[[], str]) -> None:
        """Refuse a node, when all is decided, if there is a reason."""
        self._checks.append((self.net.nodes[place], reason))

    # Modules

    def once(self, place: int, use: Any, *junctions: int) -> bool:
        """Whether a node is the first with its parameters; others must be the same map between the same junctions.

        Args:
            place: Of the node.
            use: What decides the map.
            *junctions: That it reads.

        Raises:
            ValueError: If another node uses its parameters as another map.
        """
        node = self.net.nodes[place]
        if node.owner not in self._uses:
            self._uses[node.owner] = (place, use, junctions)
            return True
        first, other, sources = self._uses[node.owner]
        if other != use:
            reason = f"its parameters, those of `{node.owner}`, are those of another map, of another role, size or φ"
            self.rules.refuse(node, reason, "give it parameters of its own")
        self.junctions.join(first, place)  # what it writes is of one junction
        reason = f"it reads another junction than `{self.net.nodes[first].name}`, whose parameters it has"
        same = partial(map, self.junctions.same, junctions, sources)
        self.later(place, lambda: "" if all(same()) else reason)
        return False

    def ordinary(self, name: str, make: Callable[[], Module], role: str) -> None:
        """A module or parameter without a feature map; the maker draws when all is decided."""
        self._ordinary[name], self.roles[name] = make, role

    def pi_layer(
        self,
        name: str,
        draw: Callable[[], Expansion],
        finish: Callable[[Expansion], nn.Module],
        factors: tuple[Factor, ...],
        role: str,
    ) -> None:
        """A layer that reads φ of a junction, from its initial atoms, which are drawn before any feature map."""
        self._atoms[name], self.roles[name], self.reads[name] = (draw, finish), role, factors

    def absorbs(self, place: int) -> bool:
        """Whether a weight takes a number that its output is multiplied by: it has one reader, and is used once."""
        owners = [node.owner for node in self.net]
        return len(self.net.readers[place]) == 1 and owners.count(self.net.nodes[place].owner) == 1

    def width(self, factor: Factor) -> Width:
        """How many coordinates a junction has."""
        channels = self.net.shapes[factor.place].channels
        assert isinstance(channels, Width)
        return channels

    def features_of(self, factors: tuple[Factor, ...]) -> Features:
        """The feature map of φ of a junction, or of a product of two."""
        found = [self._features_at(factor) for factor in factors]
        return found[0] if len(found) == 1 else at_gate(found)

    def _features_at(self, factor: Factor) -> Features:
        """Of a junction; of a finite network with as many neurons as its width says."""
        junction, features = self.junctions.root(factor.junction), self.options.features
        if junction not in self._at:
            if isinstance(features, RandomFeatures):
                features = replace(features, width=self.width(factor).at(features.width))
            self._at[junction] = features.at_junction(self.rank(junction), self.options.generator)
        return self._at[junction]

    def modules(self) -> dict[str, Module]:
        """All modules and parameters by name, in the order of the network.

        Raises:
            ValueError: If there is a reason that a node is refused for.
        """
        for node, reason in self._checks:
            if why := reason():
                self.rules.refuse(node, why)
        ordinary = {name: make() for name, make in self._ordinary.items()}
        drawn = [(name, draw(), finish) for name, (draw, finish) in self._atoms.items()]
        layers = {name: finish(initial) for name, initial, finish in drawn}
        return {name: ordinary[name] if name in ordinary else layers[name] for name in self.roles}

    def operation(self, place: int) -> Operation:
        """Of a node."""
        return self.net.nodes[place].operation


FOR_ANY_LENGTH = (Input, Embed, Table, Dense, Attention, Activate, Add, Multiply, Scale, Normalize, Center, Dropout)
"""Operations that are the same for fewer positions; averages over all are, too."""


def takes_shorter(net: Description) -> bool:
    """Whether sequences of integers may be shorter than the description says."""
    return (
        net.input.integers
        and len(net.input.axes) == 1
        and all(isinstance(node.operation, FOR_ANY_LENGTH) or node.operation == AveragePool() for node in net)
    )
