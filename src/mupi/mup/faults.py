"""What in a graph no initial value and no rate can mend, with the line to change and what to write there."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose
from typing import Any

from torch import nn

from mupi.architecture.coordinates import Scale
from mupi.architecture.description import Description, Node
from mupi.architecture.positions import Attention
from mupi.architecture.shape import Width
from mupi.architecture.weights import WeightOperation
from mupi.mup.kinds import EMBEDDINGS, owners


@dataclass(frozen=True)
class Fault:
    """Something in the user's code that keeps its module from being in μP.

    Attributes:
        kind: attention, multiplier, tied, or branch (which no parameter can multiply, if the network is to be deeper).
        where: File and line, and the name of the operation.
        what: What is there, and what it does as the width grows.
        remedy: What to write instead: at the base width it changes nothing.
    """

    kind: str
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def faults(net: Description, base_width: int) -> tuple[Fault, ...]:
    """All that the graph has.

    Args:
        net: What `mupi.trace` read.
        base_width: The width at which a change must change nothing.
    """
    tied = dict(_tied(net))
    wanted = {scale for scale in tied.values() if scale is not None}
    found = [fault for place in tied if (fault := _tied_fault(net, place, tied[place], base_width)) is not None]
    for place, node in enumerate(net):
        if isinstance(node.operation, Attention):
            found += _attention(net, node, base_width)
        elif isinstance(node.operation, Scale) and node.operation.exponent != 0 and place not in wanted:
            found.append(_multiplier(net, place, base_width))
    return tuple(found)


def faults_by_kind(narrow: nn.Module, wide: nn.Module, base_width: int) -> tuple[Fault, ...]:
    """What can be seen without a graph: torch's own attention, and embeddings that may be read out.

    Args:
        narrow: The user's module at the base width.
        wide: The same at another.
        base_width: The width at which a change must change nothing.
    """
    found = []
    for path, module in wide.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            base: Any = narrow.get_submodule(path)
            d = base.embed_dim // base.num_heads
            if module.embed_dim // module.num_heads != d:
                found.append(Fault(
                    "attention", path or "nn.MultiheadAttention",
                    "nn.MultiheadAttention multiplies its logits by 1/√d of the size d of a head, and they grow as √d "
                    "once q and k are trained",
                    f"write attention by scaled_dot_product_attention(q, k, v, scale={d**0.5:.6g} / q.shape[-1])",
                ))  # fmt: skip
    for name, places in owners(wide).items():
        embeds = [isinstance(owner, EMBEDDINGS) for owner, _ in places]
        if any(embeds) and not all(embeds):
            found.append(Fault(
                "tied", name,
                "an embedding that is read out too, whose logits grow as n in training unless they are multiplied by "
                "1/n, which cannot be seen without a graph",
                f"see that they are multiplied by {base_width} / n, with n the width",
            ))  # fmt: skip
    return tuple(found)


def _where(node: Node) -> str:
    return f"{node.source} ({node.name})" if node.source else node.name


def _power(exponent: float, of: str = "n") -> str:
    """As it is written: 1/√d, √n, 1/n, n^¼."""
    roots = {-0.5: f"1/√{of}", 0.5: f"√{of}", -1.0: f"1/{of}", 1.0: of}
    return roots.get(exponent, f"{of}^{exponent:g}")


def _attention(net: Description, node: Node, base_width: int) -> Iterator[Fault]:
    """Logits of attention that are not multiplied by c/d: q and k correlate, and q·k grows as d."""
    attention = node.operation
    assert isinstance(attention, Attention)
    channels = net.shapes[node.inputs[0]].channels
    if attention.exponent == -1 or not isinstance(channels, Width):
        return
    d = float(channels.times * base_width / attention.heads)
    factor = 1.0 if attention.factor is None else attention.factor
    scale = factor * d ** (attention.exponent + 1)
    yield Fault(
        "attention",
        _where(node),
        f"logits q·k are multiplied by {_number(factor)}{_power(attention.exponent, 'd')} of the size d of a head, and "
        f"grow as {_power(attention.exponent + 1, 'd')} once q and k are trained",
        f"multiply by {scale:.6g}/d instead: scaled_dot_product_attention(q, k, v, scale={scale:.6g} / q.shape[-1])",
    )


def _number(factor: float) -> str:
    return "" if factor == 1 else f"{factor:.6g}·"


def _multiplier(net: Description, place: int, base_width: int) -> Fault:
    """A number that depends on the width, on the way: the rates of what stands before and behind it were others."""
    node = net.nodes[place]
    operation = node.operation
    assert isinstance(operation, Scale)
    source = node if node.source else net.nodes[node.inputs[0]]
    value = operation.factor * base_width**operation.exponent
    return Fault(
        "multiplier",
        _where(source),
        f"a multiplier {_number(operation.factor)}{_power(operation.exponent)}, for which initial values and rates "
        "are not meant",
        "leave it out" if isclose(value, 1.0) else f"write the number {value:.6g} there, which it is at the base width",
    )


def _tied(net: Description) -> Iterator[tuple[int, int | None]]:
    """Readouts whose weight is an embedding's too, and the multiplier 1/n before or behind each, if there is one."""
    for place, node in enumerate(net):
        if not isinstance(node.operation, WeightOperation) or net.role(place) != "readout":
            continue
        others = [i for i, other in enumerate(net) if i != place and other.owner == node.owner]
        if any(net.role(i) == "input" for i in others if isinstance(net.nodes[i].operation, WeightOperation)):
            behind = net.readers[place] if len(net.readers[place]) == 1 else ()
            around = [
                i for i in (*node.inputs, *behind)
                if isinstance(scale := net.nodes[i].operation, Scale) and scale.exponent == -1
            ]  # fmt: skip
            yield place, around[0] if around else None


def _tied_fault(net: Description, place: int, scale: int | None, base_width: int) -> Fault | None:
    """A tied embedding has entries of order one: read out, they must be multiplied by 1/n."""
    node = net.nodes[place]
    if scale is not None:
        biased = getattr(node.operation, "bias", False) and scale > place
        return None if not biased else Fault(
            "tied", _where(node), "the bias of the readout is multiplied by 1/n too, and does not move in the limit",
            "multiply before the bias is added, or leave it out")  # fmt: skip
    return Fault(
        "tied",
        _where(node),
        "a readout that is tied to an embedding, whose entries do not shrink: its logits grow as n in training",
        f"multiply the logits, or what they are read from, by {base_width} / n, with n the width",
    )
