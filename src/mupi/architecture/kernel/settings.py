"""σ's and learning rates of each parameter, from what a user gives: one number for all, or some by name or role."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from mupi.architecture.coordinates import Normalize
from mupi.architecture.description import Description
from mupi.architecture.weights import WeightOperation
from mupi.checks import fail, non_negative
from mupi.kernels.inner_products import check_sigma

Setting = float | int | Mapping[str, float] | None
"""One for all; or by the name of a node or of its parameters, or a role (input, hidden, readout); None for defaults."""

Number = float | int | Tensor
"""A σ, or a rate that follows one; a tensor without axes where derivatives by it are asked."""

ROLES = ("input", "hidden", "readout", "finite")


@dataclass(frozen=True)
class Scales:
    """Of one node: σ_w, σ_b, and the rates of its weight (or gain) and its bias (or shift)."""

    sigma_w: Number
    sigma_b: Number
    weight_lr: float
    bias_lr: Number

    def learns_alike(self, bias: bool) -> bool:
        """Whether ω is 1, and β, if there is a bias, σ_b²: then a weight adds its moment to its tangent kernel."""
        if isinstance(self.sigma_b, Tensor) or isinstance(self.bias_lr, Tensor):
            return False  # numbers that may change
        return self.weight_lr == 1 and (not bias or self.bias_lr == self.sigma_b**2)


def scales(
    reading: str,
    net: Description,
    sigma_w: Setting = None,
    sigma_b: Setting = None,
    weight_lr: Setting = None,
    bias_lr: Setting = None,
) -> dict[int, Scales]:
    """Those of each node that has parameters.

    Raises:
        ValueError: For a name that no node has, or a number that is negative or (of σ) has no finite square.
    """
    given = {"sigma_w": sigma_w, "sigma_b": sigma_b, "weight_lr": weight_lr, "bias_lr": bias_lr}
    nodes = [
        (place, node)
        for place, node in enumerate(net)
        if isinstance(node.operation, WeightOperation)
        or (isinstance(node.operation, Normalize) and (node.operation.gain or node.operation.shift))
    ]
    names = {name for _, node in nodes for name in (node.name, node.owner)}
    for name, setting in given.items():
        by_name = setting if isinstance(setting, Mapping) else {} if setting is None else {"": setting}
        for key, value in by_name.items():
            argument = f"{reading}({name}={{{key!r}: ...}})" if key else f"{reading}({name}=...)"
            if key and key not in names and key not in ROLES:
                fail(argument, f"given for names among {sorted(names)} or roles {', '.join(ROLES)}", key)
            (check_sigma if name.startswith("sigma") else non_negative)(argument, value)
    out: dict[int, Scales] = {}
    for place, node in nodes:

        def of(name: str, default: float, place=place, node=node) -> float:
            setting = given[name]
            if not isinstance(setting, Mapping):
                return default if setting is None else setting
            for key in (node.name, node.owner, net.role(place)):
                if key in setting:
                    return setting[key]
            return default

        is_weight = isinstance(node.operation, WeightOperation)
        b = of("sigma_b", 0.0)
        out[place] = Scales(of("sigma_w", sqrt(2)), b, of("weight_lr", 1.0), of("bias_lr", b**2 if is_weight else 1.0))
    firsts: dict[str, int] = {}
    for place, node in nodes:
        twin = firsts.setdefault(node.owner, place)
        if out[place] != out[twin]:
            fail(
                f"{reading}(...)", f"given alike for {net.nodes[twin]} and {node}, whose parameters are one", out[place]
            )
    return out
