"""A file of records, one a line: what a run measures of each epoch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from mupi.training.atomic import write_text
from mupi.training.damaged import START_AGAIN, understood
from mupi.training.sealed import SEAL, sealed, unsealed

T = TypeVar("T")
R = TypeVar("R", bound="Record")


class Record:
    """What a dataclass that JSON can hold inherits."""

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_json(cls: type[R], line: str) -> R:
        """The inverse of `to_json`."""
        return of_fields(cls, json.loads(line))


def of_fields(kind: type[T], found: Mapping[str, Any]) -> T:
    """A dataclass from its fields as JSON has them, which knows no tuples and no keys but strings.

    Raises:
        TypeError: If a field is missing, or unknown.
        TypeCheckError: Of `typeguard`, if a value is none of its field's type.
    """
    hints = get_type_hints(kind)
    made = kind(**{name: _typed(value, hints.get(name)) for name, value in found.items()})
    check_fields(made)
    return made


def _typed(value: Any, hint: Any) -> Any:
    """What JSON has made of a value of this type, as it was."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        return value if value is None or len(kinds) > 1 else _typed(value, kinds[0])
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return of_fields(hint, value)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return tuple(_typed(part, kind) for part, kind in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, dict):
        key, kind = arguments
        return {(name if key is str else key(name)): _typed(part, kind) for name, part in value.items()}
    return value


def columns(records: Sequence[Any]) -> dict[str, np.ndarray]:
    """For each field that is a number, those of all records; NaN for None.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Epoch:
    ...     epoch: int
    ...     loss: float | None
    >>> columns([Epoch(1, None), Epoch(2, 0.5)])
    {'epoch': array([1, 2]), 'loss': array([nan, 0.5])}
    """
    names = [field.name for field in fields(records[0])] if records else []
    values = {name: [getattr(record, name) for record in records] for name in names}
    return {
        name: np.array([np.nan if v is None else v for v in column])
        for name, column in values.items()
        if all(v is None or isinstance(v, int | float) for v in column)
    }


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace a file by these records, each with a checksum."""
    write_text(path, "".join(json.dumps(sealed(json.loads(record.to_json()))) + "\n" for record in records))


def read_records(path: Path, record: type[R], writer: str, advice: str = START_AGAIN) -> list[R]:
    """The records of a file; of an earlier version, without checksums, all but a last line that a crash has cut off.

    Args:
        path: The file.
        record: The dataclass that a line is read as.
        writer: The command that writes such files.
        advice: What to do if it is of no use.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFile: If a line is not as it was written.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: name a directory that `{writer}` has written")
    with understood(path, advice):
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
        found = [json.loads(line) for line in lines]
        if rest and (not found or any(SEAL in line for line in found)):
            raise ValueError("its last line is cut off")
        return [of_fields(record, unsealed(line)) for line in found]


def check_fields(record: Any) -> None:
    """Refuse a dataclass whose fields are not of their types.

    Raises:
        TypeCheckError: Of `typeguard`, with the value.
    """
    from typeguard import check_type  # takes long to import, and only what reads files needs it

    hints = get_type_hints(type(record))
    for field in fields(record):
        value = getattr(record, field.name)
        check_type(value, hints[field.name])
        for part in value if isinstance(value, tuple) else ():
            if is_dataclass(part):
                check_fields(part)
