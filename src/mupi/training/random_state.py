"""The state of torch's own generators, which layers such as dropout draw from."""

from typing import Any

import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """Of the CPU's generator, and of that of a CUDA device."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: dict[str, Any], device: torch.device) -> None:
    """The inverse of `random_state`; what was saved on another device is left out."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
