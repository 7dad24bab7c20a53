"""A part of a network by its name in a description, which may be that of a method of ours."""

from typing import Any

from torch import nn


def named_part(net: nn.Module, name: str) -> Any:
    """The module or parameter of a dotted name, whatever stands in its place; those registered come before methods."""
    found: Any = net
    for part in name.split("."):
        if isinstance(found, nn.Module) and part in found._modules:
            found = found._modules[part]
        elif isinstance(found, nn.Module) and part in found._parameters:
            found = found._parameters[part]
        else:
            found = getattr(found, part)
    return found
