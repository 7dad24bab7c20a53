"""Records that are kept in a file as soon as they are known, by one process or by several in turn."""

from collections.abc import Hashable
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from filelock import FileLock

from mupi.distributed.processes import ALONE, Processes
from mupi.training.records import Record, read_records, write_records


@runtime_checkable
class Keyed(Protocol):
    """A record that says of what it is one."""

    @property
    def key(self) -> Hashable:
        """What tells it from the others."""
        ...

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        ...


R = TypeVar("R", bound=Record)


class KeptRecords(Generic[R]):
    """The records of a file, by their keys; and those that are added, each of which is there in whole at once.

    Args:
        path: The file; None for none.
        kind: What a line is read as: a `Record` with a ``key``.
        writer: The command or call that writes it, for errors.
        advice: What to do if it is of no use.
        processes: Those that add to it; all of them know what was there at first, and of later ones their own.
    """

    def __init__(self, path: Path | None, kind: type[R], writer: str, advice: str, processes: Processes = ALONE):
        self.path, self.kind, self.writer, self.advice, self.processes = path, kind, writer, advice, processes
        self.known = processes.from_first(self._read)

    def _read(self) -> dict[Hashable, R]:
        if self.path is None or not self.path.exists():
            return {}
        return {_key(record): record for record in read_records(self.path, self.kind, self.writer, self.advice)}

    def add(self, record: R) -> R:
        """Keep one."""
        self.known[_key(record)] = record
        if self.path is None:
            return record
        if self.processes.together is None:
            write_records(self.path, self.known.values())
            return record
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            write_records(self.path, {**self._read(), _key(record): record}.values())
        return record


def _key(record: Record) -> Hashable:
    assert isinstance(record, Keyed)
    return record.key
