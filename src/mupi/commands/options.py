"""What holds of the options of every command, checked once the command line is read and before anything is done.

An option says of itself what is special about it, in its annotation: the numbers it takes (`Within`), what its path is
for (`Folder`, `File`), and with which others it has a meaning (`Only`). Elsewhere it would be ignored, so it is refused
there if it is given.
"""

import argparse
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

import torch

from mupi.checks import fail
from mupi.training.folder_name import folder_name

LARGEST = torch.finfo(torch.float32).max


class Only:
    """The option has a meaning only where a number has been given to another, or a data set has it.

    Elsewhere help does not show it. Of several such marks of one option, one is to hold. Options that a choice of kind
    brings with it have no mark, but are fields of what is chosen; see `mupi.commands.choices`.

    Args:
        values: By the others' names: their values, or `SET`, or `UNSET`.
    """

    def __init__(self, **values: Any):
        self.values = values

    def holds(self, config: Any) -> bool:
        """Whether all have one of the values."""
        return all(self.admits(getattr(config, name, None), known) for name, known in self.values.items())

    @staticmethod
    def admits(value: Any, known: Any) -> bool:
        """Whether one option has one of its values."""
        if known is SET or known is UNSET:
            return (value in (None, 0, ())) is (known is UNSET)
        return value in known


SET: Any = object()
"""For `Only`: any value but None, 0 and ()."""

UNSET: Any = object()
"""For `Only`: one of these."""


@dataclass(frozen=True)
class Within:
    """A number, or each of several, from ``low`` to ``high``."""

    low: int | float
    high: int | float = math.inf


@dataclass(frozen=True)
class NotAbove:
    """Numbers up to that of another option, beyond which they would be passed over; a default may be."""

    other: str


@dataclass(frozen=True)
class Component:
    """The name of a folder in another, and no path."""


Name = Annotated[str | None, Component()]
"""What a run is called."""

Seed = Annotated[int, Within(0, 2**63 - 1)]
"""What torch's generators take."""


@dataclass(frozen=True)
class Folder:
    """A folder: one that exists, or if it is ``written`` one that can be made."""

    written: bool = False


@dataclass(frozen=True)
class File:
    """A file that is written; a ``figure`` has a suffix that says how."""

    figure: bool = False


WrittenFolder = Annotated[Path, Folder(written=True)]
DataFolder = Annotated[Path | None, Folder()]


def option(field: str) -> str:
    """A field as it is written on the command line."""
    return f"--{field.replace('_', '-')}"


def named(args: Sequence[str], option: str, default: str, known: Iterable[Any]) -> Any:
    """The value of an option that others depend on.

    Raises:
        ValueError: If it is none of those known.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", default=default)
    value = parser.parse_known_args(args)[0].value
    if value not in known:
        fail(option, " or ".join(known), repr(value))
    return value


def check_arguments(args: Sequence[str]) -> None:
    """Refuse what no option takes, and what would fail far from where it was read.

    Raises:
        ValueError: For an argument that is empty, no text, or holds a null byte; named by its option, or by what comes
            before it where that is another value.
    """
    for i, argument in enumerate(args):
        last = argument if argument.startswith("--") else args[i - 1] if i else ""
        before = last.partition("=")[0] if last.startswith("--") else " ".join(["mupi", *args[:i]])
        value = argument.partition("=")[2] if argument.startswith("--") else argument
        if not value and ("=" in argument or not argument):
            fail(_printable(before), "given a value", "an empty one", "leave it out for its default")
        if _printable(argument) != argument:
            fail(_printable(before), "text without null bytes, as UTF-8", repr(value))


def _printable(text: str) -> str:
    return text.replace("\0", "�").encode(errors="replace").decode()


def applying(options: Iterable[Any], args: Sequence[str]) -> list[Any]:
    """Those options that have a meaning beside what a command line gives; see `Only`."""
    options = list(options)
    values = {o.name: o.default for o in options}
    for flag, value in zip(args, [*args[1:], ""], strict=False):
        name, equals, after = flag.removeprefix("--").partition("=")
        if flag.startswith("--") and (name := name.replace("-", "_")) in values:
            said = after if equals else value
            values[name] = None if said in ("None", "0") else said
    given = SimpleNamespace(**values)

    def applies(marks: Iterable[Any]) -> bool:
        alternatives = [mark for mark in marks if isinstance(mark, Only)]
        return not alternatives or any(mark.holds(given) for mark in alternatives)

    return [o for o in options if applies(getattr(o.hint, "__metadata__", ()))]


def check_options(config: Any, args: Collection[str]) -> None:
    """Refuse numbers, paths and combinations that make no sense.

    Args:
        config: What the command line was read as, a dataclass.
        args: The command line; it tells a value that was asked for from a default.

    Raises:
        ValueError: With the option's name.
    """
    given = {a[2:].partition("=")[0].replace("-", "_") for a in args if a.startswith("--")}
    for owner, name, value, marks in _options(config):
        for one in value if isinstance(value, tuple) else (value,):
            _check_value(option(name), one, marks)
        asked = name in given or f"no_{name}" in given
        for other in (mark.other for mark in marks if asked and isinstance(mark, NotAbove)):
            most = getattr(owner, other)
            if value is not None and (largest := max(value, default=0) if isinstance(value, tuple) else value) > most:
                fail(option(name), f"at most {option(other)} {most}", largest, "it would be ignored")
        alternatives = [mark for mark in marks if isinstance(mark, Only)]
        if asked and alternatives and not any(mark.holds(owner) for mark in alternatives):
            _refuse(name, owner, alternatives)


def _options(config: Any) -> Iterator[tuple[Any, str, Any, tuple[Any, ...]]]:
    """The dataclass that has it, name, value and marks of each option, those of nested dataclasses too."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _options(value)
        else:
            yield config, field.name, value, getattr(hints[field.name], "__metadata__", ())


def _check_value(name: str, value: Any, marks: Sequence[Any]) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        if isinstance(value, float) and not abs(value) <= LARGEST:
            fail(name, f"a finite number, at most {LARGEST:.3g}", value)
        if isinstance(value, int) and abs(value) >= 2**63:
            fail(name, "a number of 64 bits", value)
    for mark in marks:
        match mark:
            case Within(low, high) if isinstance(value, int | float) and not low <= value <= high:
                fail(name, f"at least {low}" if high == math.inf else f"between {low} and {high}", value)
            case Component() if isinstance(value, str):
                folder_name(name, value)
            case Folder(written) if isinstance(value, Path):
                _check_folder(name, value, written)
            case File(figure) if isinstance(value, Path):
                _check_file(name, value, figure)
            case _:
                pass


def _check_folder(name: str, path: Path, written: bool) -> None:
    if path.exists() and not path.is_dir():
        fail(name, "a folder", f"`{path}`, which is a file")
    if not path.exists() and not written:
        fail(name, "a folder that exists", f"`{path}`")
    if written:
        _check_parent(name, path)


def _check_file(name: str, path: Path, figure: bool) -> None:
    if path.is_dir():
        fail(name, "a file", f"`{path}`, which is a folder")
    if figure:
        from matplotlib.backend_bases import FigureCanvasBase  # here, as its import takes long

        known = FigureCanvasBase.get_supported_filetypes()
        if path.suffix[1:].lower() not in known:
            fail(name, f"a file whose suffix is one of {', '.join(sorted(known))}", f"`{path}`")
    _check_parent(name, path)


def _check_parent(name: str, path: Path) -> None:
    """Refuse a path that cannot be written because of what is above it."""
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not (there.is_dir() or there == path) or not os.access(there, os.W_OK):
        fail(name, "where this user may write", f"`{path}`, in `{there}`" if there != path else f"`{path}`")


def _refuse(name: str, owner: Any, alternatives: Sequence[Only]) -> None:
    """Name the option, and those that leave it without a meaning."""
    wanted = " or ".join(
        " ".join(f"{option(other)} {_values(known)}" for other, known in only.values.items()) for only in alternatives
    )
    in_the_way = [
        other for only in alternatives for other, known in only.values.items()
        if not only.admits(getattr(owner, other, None), known)
    ]  # fmt: skip
    shown = " ".join(f"{option(other)} {_shown(getattr(owner, other, None))}" for other in dict.fromkeys(in_the_way))
    fail(option(name), f"left out unless {wanted}", f"it beside {shown}", "it would be ignored")


def _values(known: Any) -> str:
    if known is SET or known is UNSET:
        return "given" if known is SET else "left out"
    if isinstance(known, range):
        return f"{known.start} or more"
    return "|".join(map(str, known))


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
