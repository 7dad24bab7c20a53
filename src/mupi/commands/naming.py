"""The name of a run that was given none: what it is, and every option that differs from its default."""

import json
import re
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

LONGEST = 48
"""Characters of the options in a name; more are a checksum."""


def run_directory(runs_dir: Path, stem: str, options: Mapping[str, Any], tail: str = "", *, resume: bool) -> Path:
    """The folder of a run.

    Args:
        runs_dir: Where it is.
        stem: What every run of its kind begins with.
        options: Those that differ from their defaults.
        tail: What its name ends with.
        resume: Whether a run is to go on: if it is not there, one of an earlier version may be, which named no options.
    """
    new, old = (runs_dir / f"{stem}{middle}{tail}" for middle in (named_by(options), ""))
    return old if resume and old.exists() and not new.exists() else new


def named_by(options: Mapping[str, Any]) -> str:
    """Options as a part of a name: in words, or as a checksum if these are many."""
    words = "".join(f"-{name.replace('_', '-')}{value}" for name, value in sorted(options.items()))
    words = re.sub(r"[^\w.-]+", "_", words)
    if len(words) <= LONGEST:
        return words
    return f"-{zlib.crc32(json.dumps(options, sort_keys=True).encode()):08x}"


def differences(options: Mapping[str, Any], defaults: Mapping[str, Any], told: Collection[str]) -> dict[str, Any]:
    """The options that are not as by default, but for those that the name tells anyhow."""
    return {name: v for name, v in options.items() if name not in told and v != defaults.get(name)}
