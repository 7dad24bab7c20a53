"""A file of records, one a line: what a run measures of each epoch."""

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints, runtime_checkable

from mupi.training.atomic import write_text
from mupi.training.damaged import START_AGAIN, understood
from mupi.training.sealed import SEAL, sealed, unsealed


@runtime_checkable
class Record(Protocol):
    """A dataclass that JSON can hold."""

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        ...

    @classmethod
    def from_json(cls, line: str) -> Any:
        """The inverse of `to_json`."""
        ...


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace a file by these records, each with a checksum."""
    write_text(path, "".join(json.dumps(sealed(json.loads(record.to_json()))) + "\n" for record in records))


R = TypeVar("R", bound=Record)


def read_records(path: Path, record: type[R], writer: str, advice: str = START_AGAIN) -> list[R]:
    """The records of a file; of an earlier version, without checksums, all but a last line that a crash has cut off.

    Args:
        path: The file.
        record: What a line is.
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
        records = [record.from_json(json.dumps(unsealed(line))) for line in found]
        for each in records:
            check_fields(each)
        return records


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
