"""The readout of a network of n neurons, as a function of its last pre-activations."""

from collections.abc import Callable
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from mupi.layers import pairwise


class NeuronReadout(nn.Module):
    """h ↦ layer(φ̄(h)), a view of a network's last layer: its parameters are the network's.

    Args:
        layer: The linear map of φ̄(h).
        activation: The activation φ.
        width: n, in features φ̄(h)/√n.
        average: Whether φ is averaged over the positions, the axes between first and last; else all axes but the last
            are the batch.
    """

    def __init__(self, layer: nn.Module, activation: Callable[[Tensor], Tensor], width: int, *, average: bool = False):
        super().__init__()
        self.layer, self.activation, self.width, self.average = layer, activation, width, average
        self.training = layer.training

    @property
    def rank(self) -> None:
        """None: it takes the pre-activations themselves."""
        return None

    @property
    def weight(self) -> Float[Tensor, "d_out n"]:
        """The linear map's."""
        return cast(Tensor, self.layer.weight)

    @property
    def bias(self) -> Float[Tensor, " d_out"] | None:
        """The linear map's."""
        return getattr(self.layer, "bias", None)

    def forward(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*rows d_out"]:
        """The outputs."""
        return self.layer(self._read(h))

    def features(self, h: Float[Tensor, "*batch n"]) -> Float[Tensor, "*rows n"]:
        """φ̄(h)/√n."""
        return self._read(h) / self.width**0.5

    def kernel(
        self, features1: Float[Tensor, "*rows1 n"], features2: Float[Tensor, "*rows2 n"]
    ) -> Float[Tensor, "*pairs"]:
        """Their inner products."""
        return pairwise(lambda f1, f2: f1 @ f2.T, features1, features2)

    def diagonal(self, features: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
        """The inner product of each with itself."""
        return features.square().sum(-1)

    def read_alike(self, other: "NeuronReadout") -> None:
        """As `mupi.PiLinear.read_alike`; here neurons are all that there is."""

    def _read(self, h: Tensor) -> Tensor:
        φ = self.activation(h)
        return mean_over_positions(φ) if self.average else φ


def mean_over_positions(φ: Float[Tensor, "batch *positions n"]) -> Float[Tensor, "batch n"]:
    """The mean over all axes but the first and the last."""
    # Along the last axes, as convolutions have positions: gradients of the other order have other roundings.
    return φ.movedim(-1, 1).mean(tuple(range(2, φ.ndim))) if φ.ndim > 2 else φ
