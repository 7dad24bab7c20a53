"""Which exponents each weight of a network has: a parametrization's, by role or, in a perceptron's order, by layer."""

from mupi.architecture.description import Description
from mupi.architecture.weights import WeightOperation
from mupi.checks import fail
from mupi.parametrization import Parametrization, Roles


def place_layers(
    net: Description, parametrization: Parametrization | Roles | None, reading: str = "finite"
) -> tuple[Parametrization, dict[int, int]]:
    """A perceptron's parametrization, and for each weight which layer of it its exponents are those of.

    Input weights have those of layer 1, readouts those of the last. With as many hidden weights as the perceptron has,
    each has those of its own, in order of evaluation; else all have the same, and the parametrization must say which.
    Weights without an infinite axis have 0. A tied weight has those of the weight that it is.

    Args:
        net: The network.
        parametrization: The exponents; None for μP.
        reading: Who asks, for messages.

    Raises:
        ValueError: If it does not say which exponents the hidden weights have.
    """
    p = parametrization
    if p is None:
        p = Roles.mup()
    if not isinstance(p, Parametrization | Roles):
        fail(f"{reading}(parametrization=...)", "a Parametrization or Roles", type(p).__name__)
    p = p.parametrization if isinstance(p, Roles) else p
    weights = [i for i, node in enumerate(net) if isinstance(node.operation, WeightOperation)]
    own = [i for i in weights if not net.nodes[i].weights or net.nodes[i].weights == net.nodes[i].name]
    hidden = [i for i in own if net.role(i) == "hidden"]
    uniform = len(set(zip(p.a[1:-1], p.b[1:-1], strict=True))) == 1
    if len(hidden) != p.depth - 1 and not (uniform or not hidden):
        fail(
            f"{reading}(parametrization=...)",
            f"one for {len(hidden)} hidden weights, of depth {len(hidden) + 1}, or the same for all",
            f"depth {p.depth}",
            "take Roles, such as mupi.Roles.mup()",
        )
    layers = {"input": 1, "readout": p.depth + 1, "finite": 0}
    placed = {i: layers.get(net.role(i), 2) for i in weights}
    if len(hidden) == p.depth - 1:
        placed |= {i: 2 + k for k, i in enumerate(hidden)}
    by_name = {net.nodes[i].name: i for i in own}
    for i in weights:
        owner = by_name.get(net.nodes[i].owner, i)
        if net.role(owner) == net.role(i):
            placed[i] = placed[owner]
    return p, placed
