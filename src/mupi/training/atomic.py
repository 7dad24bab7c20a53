"""Files that are there in whole or not at all, whenever the process dies."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

PARTIAL = ".partial-"
"""How the name of a file begins that is being written."""


@runtime_checkable
class Figure(Protocol):
    """What matplotlib draws."""

    def savefig(self, fname: Path, *, dpi: int) -> object:
        """Write the file."""
        ...


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of ``path`` when the block ends.

    It is in the same folder and ends as ``path`` does. If the block raises it is removed, and ``path`` is as it was;
    if the process is killed it stays, until `remove_partial`.

    Args:
        path: The file to replace or to make; its folder is there.

    Yields:
        The file to write.
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        partial.touch()
        yield partial
        # Before the new name points to it: after a loss of power as well the old or the new file is there in whole.
        _to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text, as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Replace a file by this value, for readers other than this library; see `mupi.training.sealed` for its own."""
    write_text(path, json.dumps(value, indent=indent))


def write_figure(path: Path, figure: Figure) -> None:
    """Replace a file by this figure, in the format that its name ends with."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)


def remove_partial(directory: Path) -> None:
    """Remove what a killed process was writing into a folder.

    Args:
        directory: Which no other process writes into now.
    """
    for partial in directory.glob(PARTIAL + "*"):
        partial.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Have a file's contents, or a folder's names, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
