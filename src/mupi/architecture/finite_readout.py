"""The last hidden layer of a finite network, and its outputs as a function of it."""

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mupi.architecture.coordinates import Activate, Dropout, Scale
from mupi.architecture.description import Description
from mupi.architecture.positions import AveragePool, Flatten, Permute, Reshape, Select
from mupi.checks import fail

PASSED = AveragePool | Dropout | Flatten | Permute | Reshape | Scale | Select
"""What may stand between the last activation and the readout's weight."""


@lru_cache
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


class FiniteReadout:
    """The outputs of a finite network from its last hidden layer: see `mupi.nets.Network`.

    Args:
        net: The description of the network.
        evaluate: The values of all nodes up to one, or of all, from some that are known.
    """

    def __init__(self, net: Description, evaluate: Callable[..., list[Any]]):
        self.net, self.evaluate = net, evaluate
        self.place, self.weight = last_hidden(net)

    def __call__(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*outputs"]:
        """f, from h^L."""
        inputs, batch = self._flat(h)
        out = self.evaluate({self.place: inputs})[-1]
        return out.reshape(*batch, *out.shape[1:])

    def features(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*averaged k"]:
        """What the weight reads, over √(number of coordinates)."""
        (read,) = self.net.nodes[self.weight].inputs
        inputs, batch = self._flat(h)
        value = self.evaluate({self.place: inputs}, read)[-1]
        return value.reshape(*batch, *value.shape[1:]) / value.shape[-1] ** 0.5

    def kernel(self, features1: Tensor, features2: Tensor) -> Float[Tensor, "*pairs"]:
        """Inner products of features."""
        k = features1.shape[-1]
        kernel = features1.reshape(-1, k) @ features2.reshape(-1, k).T
        return kernel.reshape(*features1.shape[:-1], *features2.shape[:-1])

    def diagonal(self, features: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        """Each with itself."""
        return features.square().sum(-1)

    def _flat(self, h: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        axes = self.net.shapes[self.place].axes
        batch = tuple(h.shape[: h.ndim - len(axes)])
        return h.reshape(prod(batch), *h.shape[len(batch) :]), batch
