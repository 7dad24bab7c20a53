"""Operations in place: which tensors of the graph are then others, and which may not be read any more."""

from collections.abc import Iterable

from torch import fx

from mupi.architecture.trace.layout import Unreadable
from mupi.torch_internals import OPERATOR, operator_name, schema

VIEWS = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "view_as",
        "reshape_as",
        "ravel",
        "contiguous",
        "alias",
        "positive",
        "lift_fresh",
        "detach",
        "to",
        "type_as",
        "transpose",
        "swapaxes",
        "swapdims",
        "t",
        "numpy_T",
        "mT",
        "adjoint",
        "permute",
        "movedim",
        "moveaxis",
        "expand",
        "expand_as",
        "broadcast_to",
        "slice",
        "narrow",
        "select",
        "split",
        "chunk",
        "split_with_sizes",
        "tensor_split",
        "unbind",
        "getitem",
        "dropout",
    ]
)
"""Operations whose result may share its memory with what they are given."""


def used(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes that the output depends on, changes in place among them."""
    changes: dict[fx.Node, list[fx.Node]] = {}
    listed = list(nodes)
    for node in listed:
        if in_place(node):
            changes.setdefault(root(node), []).append(node)
    left, found = [node for node in listed if node.op == "output"], set()
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += [*node.all_input_nodes, *changes.get(root(node), [])]
    return found


def changed(node: fx.Node, needed: set[fx.Node]) -> set[fx.Node]:
    """The tensors that are the result of an operation in place from here on; empty for other operations.

    Raises:
        Unreadable: If the memory that it changes is also read, later, as another tensor.
    """
    if not in_place(node):
        return set()
    same, start = {node}, node
    while in_place(start):
        start = first_argument(start)
        assert start is not None
        same.add(start)
    order = {other: i for i, other in enumerate(node.graph.nodes)}
    for other in order:
        if other not in same and root(other) is root(node):
            if in_place(other) and first_argument(other) in same:
                same.add(other)
            elif order[other] < order[node] and any(u in needed and order[u] > order[node] for u in other.users):
                raise Unreadable("a change in place of a tensor that is also seen through a view", "write x = x + y, "
                                 "and not x += y")  # fmt: skip
    return {other for other in same if order[other] < order[node]}


def in_place(node: fx.Node) -> bool:
    """Whether an operation changes its first argument."""
    target = node.target
    return isinstance(target, OPERATOR) and schema(target).is_mutable and first_argument(node) is not None


def first_argument(node: fx.Node) -> fx.Node | None:
    """The first argument, if it is a tensor."""
    return node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None


def root(node: fx.Node) -> fx.Node:
    """The tensor whose memory a node may share."""
    while True:
        before = first_argument(node)
        target = node.target
        name = operator_name(target)[1] if isinstance(target, OPERATOR) else getattr(target, "__name__", "")
        if before is None or not (in_place(node) or name in VIEWS):
            return node
        node = before
