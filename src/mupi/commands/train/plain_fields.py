"""A configuration as JSON has it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mupi.activations import Activation
from mupi.commands.train.networks import activation_name

ON_A_SAVED_RUN = frozenset({"resume", "overwrite"})
"""What to do with a saved run: no property of the run itself."""


def plain_fields(config: Any) -> dict[str, Any]:
    """All fields of a configuration, a dataclass, by name; paths and activations as strings."""
    plain = asdict(config)
    for name in plain:
        match getattr(config, name):
            case Path() as path:
                plain[name] = str(path)
            case Activation() as φ:
                plain[name] = activation_name(φ)
    return plain


def run_fields(config: Any) -> dict[str, Any]:
    """The `plain_fields` that describe a run."""
    return {name: value for name, value in plain_fields(config).items() if name not in ON_A_SAVED_RUN}
