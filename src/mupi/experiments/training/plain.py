"""A configuration as JSON has it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any


def plain_fields(config: Any) -> dict[str, Any]:
    """All fields of a configuration, a dataclass, by name; paths as strings."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}
