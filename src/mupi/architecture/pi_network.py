"""`PiArchitecture`: the π-limit of a description, or a finite π-net of it."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mupi.architecture.coordinates import Activate
from mupi.architecture.description import Description
from mupi.architecture.named_part import named_part
from mupi.architecture.pi_plan import Options, Plan, apply
from mupi.architecture.pi_values import Data
from mupi.architecture.pi_weights import pi
from mupi.architecture.shape import Width
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, last_axis, non_negative, positive_int
from mupi.conventions import function, without_address
from mupi.distributed.sharded import first_parameter
from mupi.features import Features, Hermite
from mupi.layers.pi_layers import PiLayer
from mupi.layers.pi_network import PiNetwork
from mupi.optim import check_rates, rate_groups


@takes_numpy
class PiArchitecture(PiNetwork):
    """The π-limit of a network, or a finite π-net: see `mupi.architecture.Architecture.pi`.

    Submodules have the names of the nodes that they belong to. A node's value is a tensor (batch, *positions, k): data
    as they are, a layer its g with k = r; φ and averages of it wait for the weight that reads them.

    Args:
        network: The description.
        rank: See `mupi.architecture.Architecture.pi`, as all others.
        features: See there.
        rank_head: See there.
        input_scale: See there.
        output_scale: See there.
        bias_scale: See there.
        readout_std: See there.
        generator: See there.
        dtype: See there.
        device: See there.
    """

    replayable = True
    arguments: Mapping[str, Any] = {}
    """What a constructor was given, by which messages about state dicts call the network."""

    def __init__(
        self,
        network: Description,
        rank: int,
        features: Features | None = None,
        *,
        rank_head: int | None = None,
        input_scale: float = 1.0,
        output_scale: float = 0.5,
        bias_scale: float = 0.5,
        readout_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        called = "pi" if type(self) is PiArchitecture else type(self).__name__
        positive_int(f"{called}(rank=...)", rank)
        if rank_head is not None:
            positive_int(f"{called}(rank_head=...)", rank_head)
        scales = dict(input_scale=input_scale, output_scale=output_scale, bias_scale=bias_scale)
        for name, value in dict(**scales, readout_std=readout_std).items():
            non_negative(f"{called}({name}=...)", value)
        if features is not None and not isinstance(features, Features):
            hint = "pass mupi.Atoms(), mupi.Hermite(degree=2) or mupi.RandomFeatures(width=...)"
            fail(f"{called}(features=...)", "a feature map", repr(features), hint)
        like: dict[str, Any] = dict(generator=generator, dtype=dtype, device=device)
        options = Options(
            rank, Hermite() if features is None else features, rank_head, **scales, readout_std=readout_std, like=like
        )
        plan = Plan(network, options, pi)
        values = self._values(network, plan)
        if not isinstance(values[-1], Data):
            fail("pi(network)", "a network with an output of finite size", f"the output {network.nodes[-1]}")
        readouts = [name for name, role in plan.roles.items() if role == "readout"]
        if len(readouts) != 1:
            fail("pi(network)", "a network with one weight that reads a layer out", f"{len(readouts)}: {readouts}")
        self.network, self._steps, self._shorter = network, plan.steps, plan.shorter
        self._input_scale = input_scale
        self._readout, self._roles = readouts[0], plan.roles
        self._junctions: dict[str, list[int]] = {
            name: [plan.junctions.root(factor.junction) for factor in factors] for name, factors in plan.reads.items()
        }
        self._widths = {plan.junctions.root(f.junction): plan.width(f) for fs in plan.reads.values() for f in fs}
        for name, module in plan.modules().items():
            attach(self, name, module)
        for name, module in list(self.named_children()):
            self._modules[name] = listed(module)

    @staticmethod
    def _values(network: Description, plan: Plan) -> list[Any]:
        """The rules, one node after the other."""

        def rule(place: int, node: Any, *values: Any) -> Any:
            value, step = pi(node, plan, place, *values)
            plan.steps.append(step if step.inputs is not None else step._replace(inputs=node.inputs))
            return value

        return network.evaluate(rule, Data())

    @property
    def readout(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weight that reads the last layer out."""
        return named_part(self, self._readout)

    @property
    def pi_layers(self) -> list[PiLayer]:
        """All layers that read φ of a junction, in the order of the network, the readout last."""
        names = sorted(self._junctions, key=lambda name: name == self._readout)
        return [named_part(self, name) for name in names]

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """The layers that read each junction, in order; one that reads a product is with both."""
        return [[named_part(self, name) for name in names] for names in self._readers().values()]

    def _readers(self) -> dict[int, list[str]]:
        """By junction, in the order in which they are first read, the names of the layers."""
        readers: dict[int, list[str]] = {}
        for name, junctions in self._junctions.items():
            for junction in junctions:
                readers.setdefault(junction, []).append(name)
        return readers

    @property
    def junction_widths(self) -> list[Width]:
        """How many coordinates each of `junctions` has."""
        return [self._widths[junction] for junction in self._readers()]

    def forward(self, x: Tensor) -> Tensor:
        """f(x).

        Raises:
            ValueError: If ``x`` has another shape or dtype than the network takes, or a NaN or infinity.
        """
        last = self._steps[-1]
        if last.module == self._readout and last.call is apply:
            return self.readout(self.hidden(x)[-1])  # so that subclasses may change what is hidden
        return self._evaluate(x, len(self._steps))[-1]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The g whose φ the π-layers read, in order, the readout's last."""
        place = next(i for i, step in enumerate(self._steps) if step.module == self._readout)
        values, seen = self._evaluate(x, place), {}
        for step in self._steps[: place + 1]:
            if step.module in self._junctions:
                assert step.inputs is not None
                g = values[step.inputs[0]]
                seen.pop(id(g), None)
                seen[id(g)] = g
        return list(seen.values())

    def _evaluate(self, x: Tensor, count: int) -> list[Tensor]:
        """The values of the first nodes: the input, and those of some steps."""
        values = [self._taken(x)]
        for step in self._steps[:count]:
            assert step.inputs is not None
            read = (values[i] for i in step.inputs)
            values.append(step.call(named_part(self, step.module), *read) if step.module else step.call(*read))
        return values

    def _taken(self, x: Tensor) -> Tensor:
        """An input with its axes, whether they came flattened or not."""
        axes, integers = self.network.input.axes, self.network.input.integers
        if integers:
            fits = x.ndim == 1 + len(axes) and (tuple(x.shape[1:]) == axes or (self._shorter and x.shape[1] <= axes[0]))
            if x.is_floating_point() or not fits:
                sizes = f"at most {axes[0]} positions" if self._shorter else ", ".join(map(str, axes))
                fail("x", f"integers of shape (batch, {sizes})", f"{x.dtype} of shape {tuple(x.shape)}")
            return x
        dtype = first_parameter(self).dtype
        if len(axes) == 1:
            last_axis("x", x, axes[0], dtype)
        elif tuple(x.shape[1:]) not in (axes, (prod(axes),)):
            shapes = f"(batch, {', '.join(map(str, axes))}) or (batch, {prod(axes)})"
            fail("x", f"of shape {shapes}", f"shape {tuple(x.shape)}")
        else:
            last_axis("x", x, x.shape[-1], dtype)
            x = x.reshape(len(x), *axes)
        finite("x", x)
        return x

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; of the network all but names of functions, and where it stands in the user's code."""
        readout, like = self.readout, next(self.parameters())
        lines, on_data = [], {}
        for place, node in enumerate(self.network):
            shown = without_address(repr(node.operation))
            if isinstance(node.operation, Activate):
                shown = "φ"  # layers say which
                if not self.network.shapes[place].is_layer:
                    on_data[f"activation {node.name}"] = function(node.operation.activation, like)
            lines.append(f"{node.name} = {shown} of {node.inputs}{node.weights and f' with {node.weights}'}")
        return {
            "activation": readout.weight.conventions()["activation"],
            "output_scale": readout.scale,
            "bias_scale": readout.bias_scale if readout.bias is not None else 0.0,
            "input_scale": self._input_scale,
            **self.arguments,
            **on_data,
            "network": {"name": f"a network of {len(lines)} operations", "values": lines},
        }

    def parameter_groups(
        self, lr: float, first: float = 1.0, last: float = 1.0, bias: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict]:
        """See `mupi.nets.Network.parameter_groups`: ``first`` is of weights that read data, ``bias`` of vectors.

        Raises:
            ValueError: For a negative or non-finite value.
        """
        check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
        kinds = {"first": first, "hidden": 1.0, "last": last, "bias": bias}
        groups: dict[str, list[nn.Parameter]] = {kind: [] for kind in kinds}
        for name, p in self.named_parameters():
            groups[self._kind(name)].append(p)
        return rate_groups([(kind, groups[kind], factor) for kind, factor in kinds.items()], lr, weight_decay)

    def _kind(self, name: str) -> str:
        """Of a parameter: "first", "hidden", "last" or "bias"."""
        if name not in self._roles and name.rpartition(".")[-1] in ("bias", "gain", "shift"):
            return "bias"
        while name and name not in self._roles:  # a layer's weight may have parameters in modules of its own
            name = name.rpartition(".")[0]
        return {"input": "first", "readout": "last", "vector": "bias"}.get(self._roles.get(name, ""), "hidden")


def attach(net: nn.Module, name: str, module: nn.Module | nn.Parameter) -> None:
    """Register a module or parameter under a dotted name, in modules that only hold what is below.

    A name may be that of a method: names in a state dict are the description's, whose authors don't know ours.
    """
    *path, last = name.split(".")
    parent = net
    for part in path:
        if part not in parent._modules:
            parent._modules[part] = nn.Module()
        child = parent._modules[part]
        assert child is not None
        parent = child
    if last in parent._modules:  # a holder of what was attached before
        held = parent._modules[last]
        assert held is not None and isinstance(module, nn.Module)
        module._modules.update(held._modules)
        module._parameters.update(held._parameters)
        del parent._modules[last]
    if isinstance(module, nn.Parameter):
        parent._parameters[last] = module
    else:
        parent._modules[last] = module


def listed(module: nn.Module) -> nn.Module:
    """Holders of modules called 0, 1, … as `torch.nn.ModuleList`, which state dicts do not tell from them."""
    for name, child in list(module._modules.items()):
        assert child is not None
        module._modules[name] = listed(child)
    names = list(module._modules)
    holds_a_list = type(module) is nn.Module and not module._parameters and names == [str(i) for i in range(len(names))]
    return nn.ModuleList(module.children()) if holds_a_list and names else module
