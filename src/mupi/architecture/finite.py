"""The finite network of a description, in any abc-parametrization."""

from collections.abc import Callable, Mapping
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
from mupi.architecture.named_part import named_part
from mupi.architecture.scaled_groups import grouped
from mupi.architecture.scaling import Lent, Scaled, Scaling
from mupi.architecture.start import Start
from mupi.arrays import takes_numpy
from mupi.checks import positive_int
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
        fan_in_multiplier: Whether 1/√m is in the multipliers rather than in the initial values, and so in the rates.
            The network whose limit is the description's ``ntk(σ_w, σ_b)`` has it, with
            ``parametrization=Roles.ntk()``, the three scales σ_w, bias_scale = σ_b/σ_w and sigma_b = 1.
        names: Those that parameters have in the ``state_dict``, by node and kind ("layers.0.weight"), where they are
            others; None for those of the module that was traced.
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
        names: Mapping[str, str] | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.width = positive_int("finite(width=...)", width)
        start = Start(
            input_scale, hidden_scale, output_scale, bias_scale, sigma_w, sigma_b, embed_std, input_std, readout_std,
            fan_in_multiplier,
        ).checked("finite")  # fmt: skip
        self.description = net
        self.parametrization, layers = place_layers(net, parametrization)
        names = own_names(net) if names is None else names
        self._steps: list[Callable[..., Tensor] | str] = [""]  # of modules their names
        self._lent: dict[str, tuple[Scaled, dict[str, str]]] = {}
        owners: dict[str, tuple[nn.Module, Scaling]] = {}
        for i, node in enumerate(net.nodes[1:], 1):
            place = start.place(net, i, layers.get(i, 0), width, self.parametrization, generator, dtype, device)
            scaling = place.scaling
            if node.owner in owners:
                place = _tie(place, node, *owners[node.owner])
            step = finite(node, place, *(net.shapes[j] for j in node.inputs))
            self._steps.append(step)
            if isinstance(step, nn.Module):
                owner, _ = owners.setdefault(node.owner, (step, scaling))
                name = node.owner if step is owner else node.name
                self._steps[i] = name
                self._adopt(name, step, names)

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; each module with parameters compares its multipliers."""
        like = next(self.parameters(), torch.zeros(()))
        operations, activations = [], {}
        for node in self.description.nodes:
            shown = without_address(str(node.operation))
            if isinstance(node.operation, Activate):
                activations[f"activation {node.name}"], shown = function(node.operation.activation, like), "φ"
            operations.append(f"{node.name} = {shown} of {', '.join(map(str, node.inputs))}")
        lent = {f"multipliers of {name}": m.get_extra_state().tolist() for name, (m, _) in self._lent.items()}
        return {"description": operations, **activations, **lent}

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
        step = self._steps[place]
        assert isinstance(step, str)
        out = FiniteReadout(net, self._cut, self._owner(step), self._sizes(read)[-1], self._evaluate)
        return out.train(self.training)

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
        lent = [(module, self._held(name)) for name, (module, _) in self._lent.items()]
        parts = [(module, held.weight, held.bias) for module, held in lent]
        parts += [(module, module.weight, module.bias) for module in self.modules() if isinstance(module, Scaled)]
        return grouped(parts, (lr, first, last, bias, weight_decay), rates)

    @cached_property
    def _cut(self) -> tuple[int, int]:
        return last_hidden(self.description)

    def _sizes(self, place: int) -> tuple[int, ...]:
        """Axes of a node's value."""
        axes = self.description.shapes[place].axes
        return tuple(size if isinstance(size, int) else size.at(self.width) for size in axes)

    def _adopt(self, name: str, module: nn.Module, names: Mapping[str, str]) -> None:
        """Register a module under its name or, where its parameters have names of their own, these."""
        found = {kind: f"{name}.{kind}" for kind, _ in module.named_parameters(recurse=False)}
        if not isinstance(module, Scaled) or not any(own in names for own in found.values()):
            _register(self, name, module)
            return
        paths = {kind: names.get(own, own) for kind, own in found.items()}
        for kind, path in paths.items():
            _register(self, path, getattr(module, kind))
            setattr(module, kind, None)
        self._lent[name] = module, paths

    def _held(self, name: str) -> Lent:
        """The parameters of a module that does not hold them."""
        _, paths = self._lent[name]
        return Lent(*(named_part(self, paths[kind]) if kind in paths else None for kind in ("weight", "bias")))

    def _owner(self, name: str) -> Any:
        """What has the weight and the bias of a name: now, since a module may have been replaced."""
        return self._held(name) if name in self._lent else named_part(self, name)

    def _evaluate(self, known: dict[int, Tensor], upto: int | None = None) -> list[Any]:
        """The values of all nodes, up to one, from some that are known; those before are None."""
        net, start = self.description, min(known)
        values: list[Any] = [known.get(i) for i in range(start + 1)]
        for i in range(start + 1, len(net) if upto is None else upto + 1):
            step, read = self._steps[i], [values[j] for j in net.nodes[i].inputs]
            if isinstance(step, str):
                if step in self._lent:
                    module, _ = self._lent[step]
                    read.append(self._held(step))
                else:
                    module = named_part(self, step)
                    read += [self._owner(net.nodes[i].owner)] if isinstance(module, Tied) else []
                step = module
            values.append(step(*read))
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


def own_names(net: Description) -> dict[str, str]:
    """Of parameters of a traced module that are one node's, as they are: their names, where they are not the node's."""
    kinds = {"gain": "weight", "shift": "bias"}
    names = {}
    for parameter in net.parameters if net.traced else ():
        if len(parameter.uses) == 1 and not parameter.uses[0].cuts:
            (use,) = parameter.uses
            own = f"{use.node}.{kinds.get(use.kind, use.kind)}"
            names |= {own: parameter.name} if own != parameter.name else {}
    return names


def _register(net: nn.Module, name: str, value: nn.Module | nn.Parameter) -> None:
    """Under a dotted name, which may be that of a method: names in a state dict are the description's."""
    parts = name.split(".")
    for part, after in pairwise(parts):
        numbered = nn.ModuleList if isinstance(value, nn.Module) else nn.ParameterList
        inner = numbered() if after.isdigit() else nn.Module()
        net = net._modules.setdefault(part, inner)  # pyright: ignore[reportAssignmentType]
    if isinstance(value, nn.Module):
        net._modules[parts[-1]] = value
    elif isinstance(net, nn.ParameterList) and parts[-1] == str(len(net)):
        net.append(value)
    else:
        net._parameters[parts[-1]] = value
