"""The last hidden layer of a finite network, and its outputs as a function of it."""

from collections.abc import Callable
from math import prod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mupi.architecture.coordinates import Activate, Dropout, Scale
from mupi.architecture.description import Description
from mupi.architecture.positions import AveragePool, Flatten, Permute, Reshape, Select
from mupi.checks import fail
from mupi.layers import pairwise

PASSED = AveragePool | Dropout | Flatten | Permute | Reshape | Scale | Select
"""What may stand between the last activation and the readout's weight."""


def last_hidden(net: Description) -> tuple[int, int]:
    """Places of the layer that all outputs are a function of, and of the readout's weight.

    The layer is what the last activation before the readout's weight is applied to or, where there is none between,
    what that weight and averages before it read.

    Raises:
        ValueError: If there is no such layer.
    """
    readouts = [i for i in range(len(net)) if net.role(i) == "readout"]
    if len(readouts) != 1:
        fail("hidden(x)", "of a network with one readout", f"one with {len(readouts)}", "call the network itself")
    (readout,) = readouts
    place = net.nodes[readout].inputs[0]
    while isinstance(net.nodes[place].operation, PASSED):
        place = net.nodes[place].inputs[0]
    if isinstance(net.nodes[place].operation, Activate):
        place = net.nodes[place].inputs[0]
    after = range(place + 1, len(net))
    if any(i < place for j in after for i in net.nodes[j].inputs):
        name = net.nodes[place].name
        fail("hidden(x)", f"of a network whose outputs are a function of {name}", "one that goes around it")
    return place, readout


class FiniteReadout(nn.Module):
    """The outputs of a finite network from its last hidden layer, a view of it: its parameters are the network's.

    Args:
        net: The description.
        cut: Places of the layer and of the readout's weight: see `last_hidden`.
        layer: What has the readout's weight and bias.
        width: Coordinates that it reads.
        evaluate: The values of all nodes up to one, or of all, from some that are known.
    """

    def __init__(
        self, net: Description, cut: tuple[int, int], layer: Any, width: int, evaluate: Callable[..., list[Any]]
    ):
        super().__init__()
        self.net, (self.start, self.place), self.width = net, cut, width
        self.evaluate = evaluate
        self.weight, self.bias = layer.weight, layer.bias

    @property
    def rank(self) -> None:
        """None: it takes the pre-activations themselves."""
        return None

    def forward(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*outputs"]:
        """f, from h^L."""
        inputs, batch = self._flat(h)
        out = self.evaluate({self.start: inputs})[-1]
        return out.reshape(*batch, *out.shape[1:])

    def features(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*averaged k"]:
        """What the weight reads, over √(number of coordinates)."""
        (read,) = self.net.nodes[self.place].inputs
        inputs, batch = self._flat(h)
        value = self.evaluate({self.start: inputs}, read)[-1]
        return value.reshape(*batch, *value.shape[1:]) / self.width**0.5

    def kernel(
        self, features1: Float[Tensor, "*rows1 k"], features2: Float[Tensor, "*rows2 k"]
    ) -> Float[Tensor, "*pairs"]:
        """Inner products of features."""
        return pairwise(lambda f1, f2: f1 @ f2.T, features1, features2)

    def diagonal(self, features: Float[Tensor, "*rows k"]) -> Float[Tensor, "*rows"]:
        """The inner product of each with itself."""
        return features.square().sum(-1)

    def read_alike(self, other: "FiniteReadout") -> None:
        """As `mupi.PiLinear.read_alike`; here neurons are all that there is."""

    def _flat(self, h: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        axes = self.net.shapes[self.start].axes
        batch = tuple(h.shape[: h.ndim - len(axes)])
        return h.reshape(prod(batch), *h.shape[len(batch) :]), batch
