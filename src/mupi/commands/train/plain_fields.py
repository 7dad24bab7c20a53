"""A configuration as JSON has it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

ON_A_SAVED_RUN = frozenset({"resume", "overwrite"})
"""What to do with a saved run: no property of the run itself."""


def plain_fields(config: Any) -> dict[str, Any]:
    """All fields of a configuration, a dataclass, by name; paths as strings."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}


def run_fields(config: Any) -> dict[str, Any]:
    """The `plain_fields` that describe a run."""
    return {name: value for name, value in plain_fields(config).items() if name not in ON_A_SAVED_RUN}
