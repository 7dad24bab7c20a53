"""What rules write the lines of a Tensor Program with."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mupi.architecture.coordinates import Normalize
from mupi.architecture.program_values import Layer, Value
from mupi.architecture.rules import Refused, Rules
from mupi.architecture.weights import Conv, Dense, WeightOperation
from mupi.programs import Program, Vector

program = Rules("a Tensor Program", "mupi.architecture.program.register")
"""Rules (operation, `Writer`, *values that it reads) ↦ value: see `mupi.architecture.program_values`."""


@dataclass
class Writer:
    """What a rule writes with: the program, the node, and the node's parameters as lines.

    What parameters are is for those to say who write the program: see `ForwardWriter`, and `TrainingWriter` in
    `mupi.mu`.

    Attributes:
        program: Where lines are written.
        name: Of the node.
        owner: Of its weights.
        data: What the operation does with data.
    """

    program: Program
    name: str
    owner: str
    data: Callable[..., Tensor]

    def first(self, operation: WeightOperation, *data: Tensor) -> Layer:
        """A layer that a weight makes of data."""
        raise NotImplementedError

    def next(self, operation: Dense | Conv, x: Layer) -> Layer:
        """A layer that a weight makes of a layer."""
        raise NotImplementedError

    def last(self, operation: Dense | Conv, x: Layer) -> Value:
        """Outputs that a weight makes of a layer."""
        raise NotImplementedError

    def gained(self, operation: Normalize, normal: Vector) -> Vector:
        """A normalized layer with its gain and shift."""
        return normal


def layer(x: Value) -> Layer:
    """A layer; outputs have no coordinates to act on."""
    if not isinstance(x, Layer):
        raise Refused("it reads outputs, which are numbers and no coordinates of a layer")
    return x
