"""The finite network of a description, in any abc-parametrization."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.architecture.coordinates import Activate
from mupi.architecture.description import Description, Node
from mupi.architecture.exponents import place_layers
from mupi.architecture.finite_readout import FiniteReadout, last_hidden
from mupi.architecture.finite_rules import Place, Tied, finite
from mupi.architecture.inputs import read_inputs
from mupi.architecture.scaled_groups import scaled_groups
from mupi.architecture.scaling import Scaled, Scaling
from mupi.arrays import takes_numpy
from mupi.checks import non_negative, positive_int
from mupi.conventions import Conventional, function, without_address
from mupi.layers.network import Network
from mupi.parametrization import LearningRates, Parametrization, Roles


@takes_numpy
class FiniteNetwork(Conventional, Network):
    """A described network of width n in an abc-parametrization (Yang & Hu 2021), by the roles of its parameters.

    Each weight is W = α n^{−a} w with w ~ N(0, σ² n^{−2b}/m), where m·n (or m, of an input) is its fan-in: m counts
    what is finite, which are channels of data, positions of a flattened layer, sides of a kernel, and the multiple
    that the layer is of n, so that a weight that reads 4n coordinates has entries N(0, σ²/(4n)) where a + b = ½.
    One-hot vectors count as 1. α and a are multipliers, and also scale the gradient; σ and b do not. A bias is
    α α_b n^{−a_β} β. Gains start at 1, shifts at 0. Learning rates are η n^{−c}: `parameter_groups`.

    A weight that is another's too has the other's entries, times n^{−δ} where its role wants them smaller: the readout
    of a tied embedding reads with W/n in μP, and with W/√n where a + b = ½.

    Its ``state_dict`` has the names of the description's nodes, those of the module if it was traced, and for each
    an entry of multipliers, with which it fits no network in another parametrization.

    Args:
        net: The description of the network.
        width: The width n.
        parametrization: Exponents, `Roles` or those of a perceptron; None for μP.
        input_scale: α of the input weights.
        hidden_scale: α of the hidden weights.
        output_scale: α of the readout.
        bias_scale: α_b of all biases; 0 leaves them out.
        sigma_w: σ of the weights.
        sigma_b: σ of the biases; 0 starts them at 0.
        embed_std: σ of embeddings and tables, if not sigma_w.
        input_std: σ/√m of the input weights, if not sigma_w/√m.
        readout_std: σ of the readout, if not sigma_w; 0 for a network that starts at zero.
        fan_in_multiplier: Whether 1/√m is in the multipliers rather than in the initial values: with
            ``parametrization=Roles.ntk()`` that is the network whose limit as n → ∞ is the description's ``ntk``.
        generator: Draws the initial weights; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a width at which an axis is no whole number, a scale or σ that is negative or not finite, a
            parametrization that does not fit, or an operation without a rule.
    """

    def __init__(
        self,
        net: Description,
        width: int,
        *,
        parametrization: Parametrization | Roles | None = None,
        input_scale: float = 1.0,
        hidden_scale: float = 1.0,
        output_scale: float = 1.0,
        bias_scale: float = 1.0,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        embed_std: float | None = None,
        input_std: float | None = None,
        readout_std: float | None = None,
        fan_in_multiplier: bool = False,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.width = positive_int("finite(width=...)", width)
        scales = dict(input_scale=input_scale, hidden_scale=hidden_scale, output_scale=output_scale)
        stds = dict(sigma_w=sigma_w, sigma_b=sigma_b, embed_std=embed_std, input_std=input_std, readout_std=readout_std)
        for name, value in dict(**scales, bias_scale=bias_scale, **stds).items():
            if value is not None:
                non_negative(f"finite({name}=...)", value)
        self.description = net
        self.parametrization, layers = place_layers(net, parametrization)
        scale = {"input": input_scale, "hidden": hidden_scale, "readout": output_scale}
        std = {"readout": sigma_w if readout_std is None else readout_std}
        embed_std = sigma_w if embed_std is None else embed_std
        self._steps: list[Callable[..., Tensor] | tuple[str, ...]] = [()]  # of modules, where they are registered
        owners: dict[str, tuple[nn.Module, Scaling]] = {}
        for i, node in enumerate(net.nodes[1:], 1):
            role = net.role(i) or "vector"
            scaling = Scaling(
                role, layers.get(i, 0), width, self.parametrization, scale.get(role, 1.0), bias_scale,
                std.get(role, sigma_w), sigma_b, generator, dtype, device,
            )  # fmt: skip
            place = Place(scaling, embed_std, input_std, fan_in_multiplier)
            if node.owner in owners:
                place = _tie(place, node, *owners[node.owner])
            step = finite(node, place, *(net.shapes[j] for j in node.inputs))
            self._steps.append(step)
            if isinstance(step, nn.Module):
                owner, _ = owners.setdefault(node.owner, (step, scaling))
                name = node.owner if step is owner else node.name
                _register(self, name, step)
                self._steps[i] = tuple(name.split("."))

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; each module with parameters compares its multipliers."""
        like = next(self.parameters(), torch.zeros(()))
        operations, activations = [], {}
        for node in self.description.nodes:
            shown = without_address(str(node.operation))
            if isinstance(node.operation, Activate):
                activations[f"activation {node.name}"], shown = function(node.operation.activation, like), "φ"
            operations.append(f"{node.name} = {shown} of {', '.join(map(str, node.inputs))}")
        return {"description": operations, **activations}

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (batch, *axes).

        Args:
            x: Inputs (batch, *axes), or flattened; of one axis, with any axes for the batch.

        Raises:
            ValueError: If ``x`` has other sizes or another dtype, a NaN or infinity, or integers out of range.
        """
        inputs, batch = self._read(x)
        out = self._sizes(len(self.description) - 1)
        return self._evaluate({0: inputs})[-1].expand(len(inputs), *out).reshape(*batch, *out)

    def hidden(self, x: Tensor) -> list[Float[Tensor, "*batch n"]]:
        """What each activation is applied to, in order; last what `readout` takes.

        Raises:
            ValueError: If there is no layer that all outputs are a function of.
        """
        inputs, batch = self._read(x)
        net, (last, _) = self.description, self._cut
        read = [net.nodes[i].inputs[0] for i in range(last) if isinstance(net.nodes[i].operation, Activate)]
        places = [i for i in dict.fromkeys(read) if net.shapes[i].is_layer and i != last]
        values = self._evaluate({0: inputs}, last)
        kept = (values[i] for i in [*places, last])
        return [v.expand(len(inputs), *v.shape[1:]).reshape(*batch, *v.shape[1:]) for v in kept]

    @property
    def readout(self) -> FiniteReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The outputs as a function of the last of `hidden`.

        Raises:
            ValueError: If there is no layer that all outputs are a function of.
        """
        net, (_, place) = self.description, self._cut
        (read,) = net.nodes[place].inputs
        layer = self._step(place)
        assert isinstance(layer, nn.Module)
        return FiniteReadout(net, self._cut, layer, self._sizes(read)[-1], self._evaluate)

    def parameter_groups(
        self,
        lr: float,
        first: float = 1.0,
        last: float = 1.0,
        bias: float = 1.0,
        weight_decay: float = 0.0,
        *,
        rates: LearningRates | None = None,
    ) -> list[dict]:
        """Parameter groups with learning rate lr·n^{−c} times a multiplier for each kind.

        Args:
            lr: Learning rate η.
            first: Multiplier for the input weights, embeddings and tables.
            last: Multiplier for the readout's weight.
            bias: Multiplier for biases, gains and shifts.
            weight_decay: Not multiplied: a group's lr·weight_decay is the η·weight_decay given here, at every width.
            rates: The exponents c; None for the parametrization's own, for SGD. For Adam pass
                ``parametrization.adam_rates``.

        Raises:
            ValueError: For a negative or non-finite value.
        """
        modules = (module for module in self.modules() if isinstance(module, Scaled))
        return scaled_groups(modules, lr, first, last, bias, weight_decay, rates=rates)

    @cached_property
    def _cut(self) -> tuple[int, int]:
        return last_hidden(self.description)

    def _sizes(self, place: int) -> tuple[int, ...]:
        """Axes of a node's value."""
        axes = self.description.shapes[place].axes
        return tuple(size if isinstance(size, int) else size.at(self.width) for size in axes)

    def _step(self, place: int) -> Callable[..., Tensor]:
        """What a node does; of modules those that are registered now, which may have been replaced."""
        step = self._steps[place]
        return _at(self, step) if isinstance(step, tuple) else step

    def _evaluate(self, known: dict[int, Tensor], upto: int | None = None) -> list[Any]:
        """The values of all nodes, up to one, from some that are known; those before are None."""
        net, start = self.description, min(known)
        values: list[Any] = [known.get(i) for i in range(start + 1)]
        for i in range(start + 1, len(net) if upto is None else upto + 1):
            node, step = net.nodes[i], self._step(i)
            read = [values[j] for j in node.inputs]
            values.append(step(*read, _at(self, node.owner.split("."))) if isinstance(step, Tied) else step(*read))
        return values

    def _read(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Inputs (batch, *axes), and the axes of the batch."""
        like = next(self.parameters(), None)
        return read_inputs(self.description, x, None if like is None else like.dtype)


def _tie(place: Place, node: Node, owner: nn.Module, theirs: Scaling) -> Place:
    """The place of an operation whose weight another has, too."""
    mine = place.scaling
    size, their_size = sum(mine.exponents(mine.role)), sum(theirs.exponents(theirs.role))
    scales = mine.scale / theirs.scale if theirs.scale else 1.0
    return replace(place, owner=owner, tie=scales * mine.width ** (their_size - size))


def _register(net: nn.Module, name: str, module: nn.Module) -> None:
    """Under a dotted name, which may be that of a method: names in a state dict are the description's."""
    parts = name.split(".")
    for part, after in pairwise(parts):
        net = net._modules.setdefault(part, nn.ModuleList() if after.isdigit() else nn.Module())  # pyright: ignore
    net._modules[parts[-1]] = module


def _at(net: nn.Module, path: Sequence[str]) -> Any:
    """The module under a name."""
    for part in path:
        net = net._modules[part]  # pyright: ignore[reportAssignmentType]
    return net
