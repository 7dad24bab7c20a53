"""Learning rates for each kind of layer of a module of π-layers."""

from torch import nn

from mupi.checks import fail
from mupi.optim import check_rates, rate_groups


def pi_groups(net: nn.Module, lr: float, first: float, last: float, bias: float, weight_decay: float) -> list[dict]:
    """`parameter_groups` of a module of π-layers.

    Raises:
        ValueError: For a negative or non-finite value, or a multiplier of a layer that has no name.
    """
    check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
    biases = [p for name, p in net.named_parameters() if name.split(".")[-1] == "bias"]
    seen = {id(p) for p in biases}
    groups: dict[str, list[nn.Parameter]] = {}
    for kind, name, factor in (("first", "input", first), ("last", "readout", last)):
        layer = getattr(net, name, None)
        if isinstance(layer, nn.Module):
            groups[kind] = [p for p in layer.parameters() if id(p) not in seen]
            seen |= {id(p) for p in groups[kind]}
        elif factor != 1:
            must = f"1 for a network in which no module is called `{name}`"
            fail(f"parameter_groups({kind}=...)", must, factor, f"register it by this name: self.{name} = ...")
    kinds = [
        ("first", groups.get("first", []), first),
        ("hidden", [p for p in net.parameters() if id(p) not in seen], 1.0),
        ("last", groups.get("last", []), last),
        ("bias", biases, bias),
    ]
    return rate_groups(kinds, lr, weight_decay)
