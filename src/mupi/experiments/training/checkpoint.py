"""A run's checkpoint: one file, of one configuration, that is whole whenever the process dies."""

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mupi.checks import fail


def refuse_if_present(directory: Path, config: Path) -> None:
    """Keep a saved run from being replaced by mistake.

    Args:
        directory: The run's.
        config: The file that is there if there is a run.

    Raises:
        ValueError: If there is a run in the directory.
    """
    if config.exists():
        raise ValueError(
            f"`{directory}` already holds a run; continue it with --resume, replace it with --overwrite, "
            "or choose another --name"
        )


def save_checkpoint(path: Path, identity: Mapping[str, Any], state: dict[str, Any]) -> None:
    """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole.

    Args:
        path: The file.
        identity: The part of the configuration that decides the numbers.
        state: Tensors, numbers and strings in dictionaries and lists.
    """
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"config": dict(identity), "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(
    path: Path,
    identity: Mapping[str, Any],
    *,
    argument: Callable[[str], str] = str,
    mapped: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read the state, and change nothing.

    Args:
        path: The file.
        identity: What the configuration must have been.
        argument: What errors call a field.
        defaults: What fields stand for that a file of an earlier version does not name.
        mapped: Whether tensors stay in the file until they are used, so that large ones are not in memory twice.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged, or of another configuration.
    """
    if not path.exists():
        raise FileNotFoundError(f"`{path}` is missing; leave --resume out to start this run")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"`{path}` is damaged; start the run again with --overwrite") from error
    known = {**(defaults or {}), **checkpoint["config"]}
    for field, value in identity.items():
        saved = known.get(field)
        if saved != value:
            fail(argument(field), f"{saved!r} as in `{path}` to resume it", repr(value), "or choose another --name")
    return checkpoint["state"]
