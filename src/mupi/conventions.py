"""What a module's function depends on beside its tensors: said in its state dict, and compared when one is loaded."""

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from mupi.checks import fail

KEY = "_extra_state"
"""What `torch.nn.Module` calls the entry of a state dict that is no parameter and no buffer."""

POINTS = 16
"""At how many points of [−4, 4] two activations are compared."""

RELATIVE = 1e-6
"""Numbers closer than this are the same."""


class OtherConvention(ValueError, RuntimeError):
    """The state dict is of another function. A `RuntimeError` too, as what torch raises for other shapes."""


class Conventional(nn.Module):
    """A module that says in its state dict what its tensors do not: activation, scales, and the like.

    The same numbers under another convention are another function. They are refused before a tensor is copied, for
    this module and all in it. The entry is JSON in a tensor of bytes, so that files of nothing but tensors hold it; a
    state dict without it, of an earlier version, is loaded with a warning.
    """

    def conventions(self) -> dict[str, Any]:
        """By the name of the argument that decides it: numbers, strings, lists of them, or a `function`."""
        return {}

    def get_extra_state(self) -> UInt8[Tensor, " bytes"]:
        """The entry of a state dict."""
        return torch.tensor(list(json.dumps(self.conventions()).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing is set: what differs has been refused."""

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, *args, **kwargs):
        """As of torch, after the comparison.

        Raises:
            OtherConvention: If a convention of this module, or of one in it, differs.
        """
        self.check_conventions(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *args, **kwargs)
        if prefix + KEY in missing_keys:
            missing_keys.remove(prefix + KEY)

    def check_conventions(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Compare the conventions of this module and all in it with those of a state dict.

        Raises:
            OtherConvention: If one differs.
        """
        for path, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, Conventional):
                place = f"{prefix}{path}".strip(".")
                _compare(module, state_dict.get(f"{place}.{KEY}" if place else KEY), place)
        if prefix + KEY not in state_dict and any(key.startswith(prefix) for key in state_dict):
            warnings.warn(
                "this state dict, of an earlier version, does not say which activation, scales and feature map it has: "
                "they are not checked",
                stacklevel=2,
            )


def function(φ: Callable[[Tensor], Tensor], like: Tensor) -> dict[str, Any]:
    """A coordinatewise function, as its name for messages and its values at `POINTS` points, by which it is compared.

    Args:
        φ: The function.
        like: A tensor on the device of its constants.
    """
    device = "cpu" if like.is_meta else like.device
    with torch.no_grad():
        values = φ(torch.linspace(-4, 4, POINTS, dtype=torch.float64, device=device))
    return {"name": without_address(str(φ)), "values": values.tolist()}


def without_address(text: str) -> str:
    """What Python prints of an object, without where in memory it is, which another process does not know."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _compare(module: Conventional, state: Tensor | None, place: str) -> None:
    """Refuse a state dict's entry that says something else than the module."""
    own = module.conventions()
    if state is None or not own:
        return
    argument = f"{type(module).__name__}({{}}=...)" + (f" at {place}" if place else "")
    try:
        # Rounded, since averages of state dicts may have gone through floats.
        saved = json.loads(bytes(state.round().to("cpu", torch.uint8).tolist()))
        assert isinstance(saved, dict)
    except (ValueError, AssertionError):
        fail(f"load_state_dict(state_dict)['{place}.{KEY}']", "JSON in bytes", "something else", error=OtherConvention)
    for name, value in own.items():
        # Later versions may say more than earlier ones.
        if name in saved and not _same(value, saved[name]):
            fail(
                argument.format(name),
                f"{_shown(saved[name])} as in the state dict",
                _shown(value),
                "make the network as the saved one was made",
                error=OtherConvention,
            )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return _same(a.get("values"), b.get("values"))
    if not isinstance(a, (list, tuple)):
        a, b = [a], [b]
    if not isinstance(b, (list, tuple)) or len(a) != len(b):
        return False
    numbers = [abs(x) for x in (*a, *b) if isinstance(x, (int, float)) and math.isfinite(x)]
    return all(_close(x, y, RELATIVE * max(numbers, default=0.0)) for x, y in zip(a, b, strict=True))


def _close(a: Any, b: Any, tolerance: float | int) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance
    return a == b


def _shown(value: Any) -> Any:
    return value["name"] if isinstance(value, dict) else value
