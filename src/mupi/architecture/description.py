"""`Description`: a network as data, its operations in order of evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mupi.architecture.coordinates import Normalize
from mupi.architecture.operation import Input, Operation
from mupi.architecture.parameters import Parameter, Use
from mupi.architecture.shape import Shape, Size
from mupi.architecture.weights import Conv, Dense, Embed, Table, WeightOperation
from mupi.checks import fail


@dataclass(frozen=True)
class Node:
    """An operation in its place.

    Attributes:
        name: Unlike any other's; of a weight that was traced, the name of its module.
        operation: The operation of the node.
        inputs: Which nodes it reads, by their places.
        weights: The name of the parameters, where another node has them too (tied weights); empty for the node's own.
        source: Where in the user's code it stands, such as ``model.py:17``; empty for what was written by hand.
    """

    name: str
    operation: Operation
    inputs: tuple[int, ...] = ()
    weights: str = ""
    source: str = ""

    @property
    def owner(self) -> str:
        """The name of its parameters."""
        return self.weights or self.name

    def __str__(self) -> str:
        """As messages call it."""
        where = f"{self.name}, {self.source}" if self.source else self.name
        return f"`{self.operation}` ({where})"


@dataclass(frozen=True)
class Description:
    """A network: operations, each naming those that it reads. Data only, and equal if it is the same network.

    Args:
        nodes: In order of evaluation; the first is the `Input`. The last is the output.
        traced: The parameters of the module that it was traced from; empty for what was written by hand.

    Raises:
        ValueError: If a node reads what does not come before it, or values of another shape than its operation takes.
    """

    nodes: tuple[Node, ...]
    traced: tuple[Parameter, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self):
        names = [node.name for node in self.nodes]
        if not self.nodes or not isinstance(self.nodes[0].operation, Input):
            fail("Description(nodes=...)", "a list of nodes that begins with the Input", self.nodes[:1])
        if len(set(names)) < len(names):
            fail("Description(nodes=...)", "made of nodes with names of their own", sorted(names))
        for place, node in enumerate(self.nodes):
            if any(not 0 <= i < place for i in node.inputs) or len(node.inputs) != node.operation.reads:
                fail(f"Description(nodes=...)[{place}]", "a node that reads earlier ones", f"{node} of {node.inputs}")
        assert self.shapes  # says what does not fit

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of each node's value."""
        shapes: list[Shape] = []
        for node in self.nodes:
            try:
                shapes.append(node.operation.shape(*(shapes[i] for i in node.inputs)))
            except ValueError as error:
                raise ValueError(f"{node.name}{f' ({node.source})' if node.source else ''}: {error}") from None
        return tuple(shapes)

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """Which nodes read each node."""
        return tuple(
            tuple(i for i, node in enumerate(self.nodes) if place in node.inputs) for place in range(len(self))
        )

    @property
    def input(self) -> Input:
        """What it takes."""
        operation = self.nodes[0].operation
        assert isinstance(operation, Input)
        return operation

    @property
    def output(self) -> Shape:
        """The shape of what it returns."""
        return self.shapes[-1]

    def role(self, place: int) -> str:
        """Of a weight: input, hidden, readout or finite (see `WeightOperation.role`); of others empty."""
        node = self.nodes[place]
        if not isinstance(node.operation, WeightOperation):
            return ""
        return node.operation.role(self.shapes[node.inputs[0] if node.inputs else place])

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of the module that was traced; of what was written by hand, those of its nodes, by their names."""
        return self.traced or tuple(found for place in range(len(self)) for found in self._own_parameters(place))

    def _own_parameters(self, place: int) -> Iterator[Parameter]:
        """Those that a node has itself."""
        node, shape = self.nodes[place], self.shapes[place]
        if isinstance(node.operation, WeightOperation) and not node.weights:
            axes = self._weight_axes(place)
            bare = isinstance(node.operation, Table)
            role = "vector" if bare and not shape.positions and shape.is_layer else self.role(place)
            use = Use(node.name, "weight", (), axes, tuple(range(len(axes))))
            yield Parameter(node.name if bare else f"{node.name}.weight", axes, role, (use,))
        vectors = []
        if isinstance(node.operation, Dense | Conv) and node.operation.bias and not node.weights:
            vectors = [("bias", "bias")]
        elif isinstance(node.operation, Normalize):
            given = (("gain", "weight", node.operation.gain), ("shift", "bias", node.operation.shift))
            vectors = [(kind, name) for kind, name, has in given if has]
        for kind, name in vectors:
            assert shape.channels is not None
            axes, role = (shape.channels,), "vector" if shape.is_layer else "finite"
            yield Parameter(f"{node.name}.{name}", axes, role, (Use(node.name, kind, (), axes, (0,)),))

    def _weight_axes(self, place: int) -> tuple[Size, ...]:
        """Axes of a node's weight: outputs first, but in a table."""
        node = self.nodes[place]
        match node.operation:
            case Table(positions, out):
                return (*positions, out)
            case Embed(count, out):
                return (count, out)
            case Conv() | Dense():
                read = self.shapes[node.inputs[0]]
                assert read.channels is not None
                kernel = node.operation.size if isinstance(node.operation, Conv) else ()
                return (node.operation.out, *read.flat, read.channels, *kernel)
        raise TypeError(f"{node} has parameters that mupi does not know")

    def evaluate(self, rule: Callable[..., Any], start: Any) -> list[Any]:
        """The value of each node, by a rule (place, node, *values that it reads) ↦ value.

        Args:
            rule: The rule that evaluates each operation.
            start: The value of the input.
        """
        values = [start]
        for place, node in enumerate(self.nodes[1:], 1):
            values.append(rule(place, node, *(values[i] for i in node.inputs)))
        return values
