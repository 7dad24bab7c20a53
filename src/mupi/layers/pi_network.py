"""`PiNetwork`: a network of π-layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.conventions import Conventional
from mupi.layers.error import LayerError
from mupi.layers.network import Network
from mupi.layers.pi_functions import error_of_layers, sample
from mupi.layers.pi_groups import pi_groups
from mupi.layers.pi_layers import PiLayer, pi_layers, read_by_layers
from mupi.layers.pi_linear import PiLinear

Net = TypeVar("Net", bound="PiNetwork")


@takes_numpy
class PiNetwork(Conventional, Network, ABC):
    """A network of π-layers: `mupi.PiLinear` and `mupi.PiConv2d`, and whatever is linear in g or normalizes it.

    Layers meet at *junctions*, vectors g ∈ R^r with coordinates ⟨g, z⟩, one at each position (pixel, token) where there
    are any. A network of one's own writes `forward`, and registers its last layer as ``readout``, a `mupi.PiLinear` or
    `mupi.AveragedReadout`, and what leads to the first junction as ``input``; all else is found:

    >>> class Residual(mupi.PiNetwork):
    ...     def __init__(self, d_in, d_out, rank, **layer):
    ...         super().__init__()
    ...         self.input = mupi.DenseMatrix(d_in, rank)
    ...         self.branch = mupi.PiLinear(rank, rank, **layer)
    ...         self.readout = mupi.PiLinear(rank, d_out, **layer)
    ...
    ...     def forward(self, x):
    ...         g = self.input(x)
    ...         return self.readout(g + self.branch(mupi.normalize(g)))
    >>> net = Residual(3, 2, 8, features=mupi.Hermite(2), activation=mupi.ReLU())
    >>> optimizer = mupi.SGD(net.parameter_groups(lr=0.1, last=4.0))
    >>> x = torch.randn(5, 3)
    >>> net.feature_kernel(x, x).shape
    torch.Size([5, 5])
    >>> net.sample(64, x=x)(x).shape
    torch.Size([5, 2])

    Of a module that is no `PiNetwork` the same can be asked by `mupi.parameter_groups`, `mupi.sample`,
    `mupi.error_report`, `mupi.num_atoms` and `mupi.feature_kernel`.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """f(x)."""

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The g that the π-layers read, in order, the readout's last."""
        return read_by_layers(self, x)

    @property
    def pi_layers(self) -> Sequence[PiLayer]:
        """All layers that read φ of a junction, the readout last."""
        return list(pi_layers(self).values())

    @property
    def junctions(self) -> Sequence[Sequence[PiLayer]] | None:
        """The layers that read each junction, which share a finite network's Ω̃; None if `sample` has to find them."""
        return None

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; subclasses add their own arguments."""
        layer = getattr(self, "readout", None)
        if not isinstance(layer, PiLinear):
            return {}
        own, activation = layer.conventions(), layer.weight.conventions()["activation"]
        return {"activation": activation, "output_scale": own["scale"], "bias_scale": own["bias_scale"]}

    def sample(self: Net, width: int, generator: torch.Generator | None = None, x: Tensor | None = None) -> Net:
        """The finite network of width n that this one describes: see `mupi.sample`.

        Args:
            width: The width n.
            generator: Draws Ω̃.
            x: A batch of inputs, for a network of one's own that does not say its `junctions`.

        Raises:
            ValueError: If ``width`` is below the rank, the network is finite already, or ``x`` is missing.
        """
        return sample(self, width, x, generator)

    def error_report(self, x: Tensor) -> list[LayerError]:
        """The relative error of each weight's feature map against κ_φ, on a batch: see `mupi.error_report`.

        Raises:
            ValueError: If there is no input in ``x``, or the network does not take it.
        """
        return error_of_layers(self, x)

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored in all layers; 0 at constant memory."""
        return sum(layer.weight.num_atoms for layer in self.pi_layers)

    def parameter_groups(
        self, lr: float, first: float = 1.0, last: float = 1.0, bias: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict]:
        """See `Network.parameter_groups`; ``first`` is of what is registered as ``input``.

        Raises:
            ValueError: For a negative or non-finite value, or a multiplier of a layer that there is not.
        """
        return pi_groups(self, lr, first, last, bias, weight_decay)
