"""An architecture as a table: where, what, of which shape, and what μP calls its parameters."""

from textwrap import wrap

from mupi.architecture.coordinates import Add, Multiply, Normalize
from mupi.architecture.description import Description
from mupi.architecture.operation import Input
from mupi.architecture.positions import Attention, Join
from mupi.architecture.weights import WeightOperation

LONGEST = 48
"""Characters of an operation and what it reads, before the next line is begun."""


def table(net: Description) -> str:
    """A line an operation: name, operation and what it reads, shape with n for the width, roles of its parameters.

    What is read goes to lines of its own where names are long.
    """
    rows = [("", "operation", "shape", "parameters")]
    for place, node in enumerate(net):
        reads, shown = "", str(node.operation).removesuffix("()")
        if isinstance(node.operation, Add | Multiply | Join | Attention) or (
            node.inputs and node.inputs != (place - 1,)
        ):
            reads = f" of {', '.join(net.nodes[i].name for i in node.inputs)}"
        where = f"{node.source}  {node.name}" if node.source else node.name
        first, *more = wrap(f"{shown}{reads}", LONGEST, subsequent_indent="  ", break_long_words=False)
        rows.append((where, first, str(net.shapes[place]), parameters(net, place)))
        rows.extend(("", line, "", "") for line in more)
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


def parameters(net: Description, place: int) -> str:
    """The roles of a node's parameters."""
    operation = net.nodes[place].operation
    if isinstance(operation, WeightOperation):
        return f"{net.role(place)} weight{', bias' if operation.bias else ''}"
    if isinstance(operation, Normalize):
        return ", ".join(name for name in ("gain", "shift") if getattr(operation, name))
    return "" if not isinstance(operation, Input) else "data"
