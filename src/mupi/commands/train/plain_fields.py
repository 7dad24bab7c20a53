"""A configuration as JSON has it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from mupi.activations import Activation
from mupi.commands.choices import ByName, Choice
from mupi.commands.train.activation_names import activation_name

ON_A_SAVED_RUN = frozenset({"resume", "overwrite"})
"""What to do with a saved run: no property of the run itself."""


def plain_fields(config: Any) -> dict[str, Any]:
    """All fields of a configuration, a dataclass, by name; paths, and what is written by a name, as strings."""
    plain, hints = asdict(config), get_type_hints(type(config), include_extras=True)
    for name in plain:
        for mark in getattr(hints[name], "__metadata__", ()):
            if isinstance(mark, ByName):
                plain[name] = mark.name(getattr(config, name))
            if isinstance(mark, Choice) and mark.several:
                plain[name] = {mark.name(value): asdict(value) for value in getattr(config, name)}
        match getattr(config, name):
            case Path() as path:
                plain[name] = str(path)
            case Activation() as φ:
                plain[name] = activation_name(φ)
    return plain


def run_fields(config: Any) -> dict[str, Any]:
    """The `plain_fields` that describe a run."""
    return {name: value for name, value in plain_fields(config).items() if name not in ON_A_SAVED_RUN}
