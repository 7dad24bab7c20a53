"""What all π-networks have in common: a last junction, samples of finite width, errors, learning rates."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from math import prod
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.conventions import Conventional
from mupi.features import AveragePool, RandomWeight, whitened_gaussian
from mupi.layers import LayerError, PiConv2d, PiLinear, layer_error
from mupi.optim import check_rates, rate_groups

PiLayer = PiLinear | PiConv2d

Network = TypeVar("Network", bound="PiNetwork")

ERROR_ROWS = 512
"""Positions of a layer's input that an error is measured on."""

KERNEL_ENTRIES = 2**22
"""Pairs of positions that `PiNetwork.feature_kernel` holds at a time."""


@takes_numpy
class PiNetwork(Conventional, ABC):
    """A network of π-layers: ``input`` leads to the first junction, each of ``pi_layers`` from one to another.

    Junctions are vectors g ∈ R^r with coordinates ⟨g, z⟩, one at each position (pixel, token) where there are any;
    the readout takes the average of φ over the positions.

    >>> net = mupi.PiMLP(64, 10, rank=20)
    >>> isinstance(net, mupi.PiNetwork), len(list(net.pi_layers))
    (True, 2)
    """

    @abstractmethod
    def hidden(self, x: Tensor) -> list[Tensor]:
        """The g whose φ the π-layers read, in order; the last is the readout's."""

    @property
    @abstractmethod
    def pi_layers(self) -> Sequence[PiLayer]:
        """All layers that read φ of a junction, the readout last."""

    @property
    def readout(self) -> PiLinear:
        """The last layer."""
        layer = self.pi_layers[-1]
        assert isinstance(layer, PiLinear)
        return layer

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """The layers that read each junction; those of one junction share the Ω̃ of a finite network."""
        return [[layer] for layer in self.pi_layers]

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; subclasses add their own arguments."""
        own = self.readout.conventions()
        activation = self.readout.weight.conventions()["activation"]
        return {"activation": activation, "output_scale": own["scale"], "bias_scale": own["bias_scale"]}

    def forward(self, x: Tensor) -> Tensor:
        """f(x).

        Raises:
            ValueError: If ``x`` has another shape than the network takes, or a NaN or infinity.
        """
        return self.averaged_readout(self.hidden(x)[-1])

    def averaged_readout(self, g: Float[Tensor, "*batch height width r"]) -> Float[Tensor, "*batch d_out"]:
        """The readout of φ averaged over all positions."""
        return self.readout(g, AveragePool(*g.shape[-3:-1]))[..., 0, 0, :]

    def feature_kernel(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "n m"]:
        """E φ̄(h)φ̄(h') of the last junction's coordinates h(x₁), h(x₂), with φ̄ the average over positions."""
        g1, g2 = self.hidden(x1)[-1], self.hidden(x2)[-1]
        n, m = len(g1), len(g2)
        kernel, rank = self.readout.weight.feature_kernel, g1.shape[-1]
        positions = prod(g1.shape[1:-1])
        rows = max(1, KERNEL_ENTRIES // max(1, m * positions**2))
        parts = [
            kernel(part.reshape(-1, rank), g2.reshape(-1, rank))
            .reshape(len(part), positions, m, positions)
            .mean((1, 3))
            for part in g1.split(rows)
        ]
        return torch.cat(parts) if parts else g1.new_zeros(n, m)

    @torch.no_grad()
    def sample(self: Network, width: int, generator: torch.Generator | None = None) -> Network:
        """The finite network of width n that this one describes: the same network with `RandomFeatures` features.

        Each junction draws Ω̃ (n × r, Ω̃ᵀΩ̃ = n I) with rows z_α; a weight that reads it has columns w(z_α)/√n.

        Raises:
            ValueError: If ``width`` is below the rank, or the network is finite already.
        """
        positive_int("sample(width=...)", width)
        net = deepcopy(self)
        for layers in net.junctions:
            omega = None
            for layer in layers:
                old = layer.weight
                parameter = next(old.parameters())
                like = old.at_neurons(parameter.new_empty(0, old.rank_in))
                if omega is None:
                    omega = whitened_gaussian(width, old.rank_in, generator).to(like)
                layer.weight = RandomWeight(omega, old.at_neurons(omega), old.activation).train(old.training)
                layer.weight.requires_grad_(parameter.requires_grad)
        return net

    @torch.no_grad()
    def error_report(self, x: Tensor) -> list[LayerError]:
        """The relative error of output and input gradient of each weight's feature map against κ_φ, on a batch.

        Measured on a sum of atoms known both ways: the last ones of the training (`Hermite(window=...)`; the initial
        ones before), evaluated under the exact kernel and under the features' own, at the junctions g of the batch
        (of many positions, at a few spread over them). It is the error of the function that these samples added. The
        gradient's is for Gaussian δ, that is, of the whole Jacobian. `Atoms` has no error, `RandomFeatures` is its own
        exact finite network: both report 0.

        Raises:
            ValueError: If there is no input in ``x``, or the network does not take it.
        """
        if len(x) == 0:
            fail("error_report(x)", "at least one input", f"shape {tuple(x.shape)}")
        seen: dict[nn.Module, Tensor] = {}
        hooks = [
            layer.register_forward_pre_hook(lambda layer, inputs: seen.update({layer: inputs[0]}))
            for layer in self.pi_layers
        ]
        training = self.training
        try:
            self.eval()(x)
        finally:
            self.train(training)
            for hook in hooks:
                hook.remove()
        names = [*(f"layer {i + 1}" for i in range(len(self.pi_layers) - 1)), "readout"]
        report = []
        for name, layer in zip(names, self.pi_layers, strict=True):
            g = seen[layer].reshape(-1, layer.weight.rank_in)
            report.append(layer_error(name, layer.weight, g[:: -(-len(g) // ERROR_ROWS)]))
        return report

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored in all layers; 0 at constant memory."""
        return sum(layer.weight.num_atoms for layer in self.pi_layers)

    def parameter_groups(
        self,
        lr: float,
        first: float = 1.0,
        last: float = 1.0,
        bias: float = 1.0,
        weight_decay: float = 0.0,
    ) -> list[dict]:
        """Parameter groups for `mupi.SGD` and other optimisers, with a learning rate for each kind of layer.

        Args:
            lr: Learning rate of the hidden weights; the others multiply it.
            first: Multiplier for the weights before the first junction.
            last: Multiplier for the readout's weight.
            bias: Multiplier for all biases.
            weight_decay: Not multiplied: lr·weight_decay is the same for all groups.

        Raises:
            ValueError: For a negative or non-finite value.
        """
        check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
        biases = [p for name, p in self.named_parameters() if name.split(".")[-1] == "bias"]
        seen = {id(p) for p in biases}
        groups = {}
        for name, module in (("first", self.get_submodule("input")), ("last", self.readout.weight), ("hidden", self)):
            groups[name] = [p for p in module.parameters() if id(p) not in seen]
            seen |= {id(p) for p in groups[name]}
        kinds = [
            ("first", groups["first"], first),
            ("hidden", groups["hidden"], 1.0),
            ("last", groups["last"], last),
            ("bias", biases, bias),
        ]
        return rate_groups(kinds, lr, weight_decay)
