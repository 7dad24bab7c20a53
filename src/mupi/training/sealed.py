"""Files that tell whether they are as they were written: JSON with a checksum, tensors in a zip archive."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mupi.training.atomic import replacing, write_text
from mupi.training.damaged import START_AGAIN, understood

SEAL = "crc32"


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON has them, and under ``"crc32"`` their checksum."""
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain | {SEAL: _checksum(plain)}


def unsealed(fields: Any) -> dict[str, Any]:
    """The inverse of `sealed`; fields without a checksum, of an earlier version, are taken as they are.

    Raises:
        ValueError: If they are not those that were sealed.
    """
    if not isinstance(fields, dict):
        raise ValueError("no fields with names")
    found = fields.pop(SEAL, None)
    if found is not None and found != _checksum(fields):
        raise ValueError("other fields than were written")
    return fields


def write_sealed(path: Path, fields: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Replace a file by these fields: tensors, numbers and strings if it ends in ``.pt``, else JSON."""
    if path.suffix != ".pt":
        write_text(path, json.dumps(sealed(fields), indent=indent) + "\n")
        return
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save(dict(fields), file)


def read_sealed(path: Path, advice: str = START_AGAIN, *, mapped: bool = False) -> dict[str, Any]:
    """The fields that `write_sealed` has written.

    Args:
        path: The file.
        advice: What to do if it is of no use.
        mapped: Whether tensors stay in the file until they are used, so that large ones are not in memory twice.

    Raises:
        OSError: If there is no such file, or it cannot be opened.
        DamagedFile: If one bit of what is read is not as it was written.
    """
    with understood(path, advice):
        if path.suffix != ".pt":
            return unsealed(json.loads(path.read_text(encoding="utf-8")))
        # torch checks nothing: bits that have flipped would become parameters.
        with zipfile.ZipFile(path) as archive:
            if (entry := archive.testzip()) is not None:
                raise ValueError(f"{entry} is not as it was written")
        fields = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(fields, dict):
            raise ValueError("no fields with names")
        return fields


def _checksum(fields: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(fields).encode()):08x}"
