"""A description while it is being written: `Value` is what a step comes to, and what the next steps read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mupi.architecture.description import Node
from mupi.architecture.operation import Operation
from mupi.checks import fail


@dataclass
class Draft:
    """A description that is being written."""

    nodes: list[Node] = field(default_factory=list)

    def write(
        self, operation: Operation, inputs: Sequence[int], name: str = "", weights: str = "", source: str = ""
    ) -> "Value":
        """Add a node; without a name it gets the operation's, numbered."""
        if not name:
            kind = type(operation).__name__.lower()
            name = f"{kind}_{sum(type(node.operation) is type(operation) for node in self.nodes) + 1}"
        self.nodes.append(Node(name, operation, tuple(inputs), weights, source))
        return Value(self, len(self.nodes) - 1)

    def finish(self, output: "Value") -> tuple[Node, ...]:
        """The nodes that the output depends on."""
        wanted, kept = {output.place}, [0]
        for place in range(output.place, 0, -1):
            if place in wanted:
                wanted |= set(self.nodes[place].inputs)
        kept = sorted(wanted | {0})
        new = {place: i for i, place in enumerate(kept)}
        nodes = (self.nodes[place] for place in kept)
        return tuple(replace(node, inputs=tuple(new[i] for i in node.inputs)) for node in nodes)


@dataclass(frozen=True)
class Value:
    """What a step of a network comes to, while the network is being written down.

    Attributes:
        draft: The description that it belongs to.
        place: Place of the value's node among the nodes.
    """

    draft: Draft
    place: int

    def then(
        self, operation: Operation, *others: "Value", name: str = "", weights: str = "", source: str = ""
    ) -> "Value":
        """Another step that reads this value, and others.

        Raises:
            ValueError: If a value belongs to another description, or the operation reads more or fewer.
        """
        values = (self, *others)
        if operation.reads == 0:
            values = ()
        elif len(values) != operation.reads:
            fail(f"{type(operation).__name__}(...)", f"called on {operation.reads} values", len(values))
        if any(value.draft is not self.draft for value in others):
            fail(f"{type(operation).__name__}(...)", "called on values of one network", "values of two")
        return self.draft.write(operation, [value.place for value in values], name, weights, source)
