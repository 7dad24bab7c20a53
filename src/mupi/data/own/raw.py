"""What a file holds, before anything is made of it."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Num


@dataclass(frozen=True, eq=False)
class RawTable:
    """Columns by their names.

    Attributes:
        columns: Each an array of float64, NaN where an entry is missing; or of words (objects), None where it is.
    """

    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


@dataclass(frozen=True, eq=False)
class RawImages:
    """Images of one size.

    Attributes:
        pixels: Bytes or floats.
        files: Where each comes from; empty where they have no names.
    """

    pixels: Num[np.ndarray, "n channels height width"]
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class Raw:
    """Inputs, and what is to be learned of them.

    Attributes:
        source: What it was read from, for messages.
        inputs: One for each row.
        target: Words, booleans, integers or floats; None if there are none.
        target_name: What the target is called.
        notes: What was left out or changed in reading, for the user.
    """

    source: str
    inputs: RawTable | RawImages
    target: np.ndarray | None = None
    target_name: str = "y"
    notes: tuple[str, ...] = ()

    def noted(self, *notes: str) -> "Raw":
        """With more notes."""
        return replace(self, notes=(*self.notes, *notes))


def fingerprint(raw: Raw) -> str:
    """A checksum (SHA-256) of all inputs and targets, and of their names."""
    parts: list[tuple[str, np.ndarray]]
    parts = list(raw.inputs.columns.items()) if isinstance(raw.inputs, RawTable) else [("pixels", raw.inputs.pixels)]
    if raw.target is not None:
        parts.append((raw.target_name, raw.target))
    found = hashlib.sha256()
    for name, values in parts:
        found.update(f"{name}\0{values.dtype}\0{values.shape}\0".encode())
        # Of objects, an array has but their addresses.
        content = repr(values.tolist()).encode() if values.dtype == object else np.ascontiguousarray(values).tobytes()
        found.update(content)
    return found.hexdigest()
