"""What rules write the lines of a Tensor Program with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mupi.architecture.program_values import Columns, Layer, Value
from mupi.architecture.rules import Refused, Rules
from mupi.programs import Program, Vector

program = Rules("a Tensor Program", "mupi.architecture.program.register")
"""Rules (operation, `Writer`, *values that it reads) ↦ value: see `mupi.architecture.program_values`."""


@dataclass
class Writer:
    """What a rule writes with, beside the program.

    Attributes:
        program: Where lines are written.
        name: Of the node.
        owner: Of its weights.
        sigma_w: σ_w of the weight.
        sigma_b: σ_b of the bias.
        initial: By owner of weights that read data: their outputs, as columns that all their uses choose from.
        data: What the operation does with data.
    """

    program: Program
    name: str
    owner: str
    sigma_w: float
    sigma_b: float
    initial: dict[str, "Initial"]
    data: Callable[..., Tensor]

    def bias(self, columns: int) -> Vector | None:
        """The bias as a vector, the same in all columns; None if it is zero."""
        if self.sigma_b == 0:
            return None
        name = f"b.{self.owner}"
        line = self.program.find(name) or self.program.vector(name, self.sigma_b**2)
        assert isinstance(line, Vector)
        return line @ torch.ones(1, columns, dtype=torch.float64)


@dataclass
class Initial:
    """The outputs of a weight that reads data: jointly Gaussian vectors.

    Attributes:
        vector: The outputs, one column for each input and position.
        uses: For each use, by the node's name, which columns and their axes.
    """

    vector: Vector
    uses: dict[str, tuple[slice, Columns]]


def layer(x: Value) -> Layer:
    """A layer; outputs have no coordinates to act on."""
    if not isinstance(x, Layer):
        raise Refused("it reads outputs, which are numbers and no coordinates of a layer")
    return x
