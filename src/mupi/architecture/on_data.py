"""What operations do with data in a Tensor Program: the same as in a finite network."""

from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.finite_rules import Place, finite
from mupi.architecture.scaling import Scaling
from mupi.parametrization import Roles


def on_data(net: Description, place: int, *values: Tensor) -> Tensor:
    """What an operation without parameters does, as in a finite network."""
    node = net.nodes[place]
    vector = Scaling("vector", 0, 1, Roles.mup().parametrization)
    step = finite(node, Place(vector, 1.0, None, False), *(net.shapes[i] for i in node.inputs))
    return step(*values)
