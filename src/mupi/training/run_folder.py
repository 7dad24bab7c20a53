"""A run's folder: its configuration, the metrics of its course, a checkpoint to go on from, and what it writes else."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from mupi.checks import fail
from mupi.training.atomic import remove_partial
from mupi.training.damaged import START_AGAIN, DamagedFile, understood
from mupi.training.lock import held
from mupi.training.records import Record, read_records, write_records
from mupi.training.sealed import read_sealed, write_sealed

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
EPOCHS = "epochs"
STARTING = ".starting"
"""Is there from before anything of an old run is removed until there is a checkpoint of the new one."""


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RunFolder(Generic[R]):
    """``config.json``, ``metrics.jsonl``, ``checkpoint.pt`` and, if asked for, ``epochs/000.pt``, … in a folder.

    Each is replaced in one go, so that a process that is killed leaves a folder to go on from, and each is checked when
    it is read. The checkpoint decides how far the run is: metrics beyond it are dropped.

    Args:
        directory: The folder.
        settings: All that describes the run, as JSON has it.
        identity: The part of it that decides the numbers.
        record: What a line of the metrics is.
        counted_by: The field of metrics and state that says how far they are.
        writer: The command that writes the folder.
        outputs: The names of all other files that the command writes into the folder.
        defaults: What fields of the identity stand for that a file of an earlier version does not name.
        current: From an identity as an earlier version has saved it to what this one would have.
        argument: What errors call a field.
        otherwise: What errors advise where the folder is of another run.
        start_again: What they advise where a file of it is of no use.
    """

    directory: Path
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    record: type[R]
    counted_by: str
    writer: str
    outputs: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    current: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    argument: Callable[[str], str] = str
    otherwise: str = "choose another --name"
    start_again: str = START_AGAIN

    @property
    def config_path(self) -> Path:
        """All fields of the configuration."""
        return self.directory / CONFIG

    @property
    def metrics_path(self) -> Path:
        """One line for each record."""
        return self.directory / METRICS

    @property
    def checkpoint_path(self) -> Path:
        """Everything that the next step depends on."""
        return self.directory / CHECKPOINT

    def epoch_path(self, epoch: int) -> Path:
        """The network after so many epochs."""
        return self.directory / EPOCHS / f"{epoch:03}.pt"

    def kept_epochs(self) -> list[int]:
        """After which epochs the network was kept, in order."""
        found = (self.directory / EPOCHS).glob("*.pt")
        return sorted(int(path.stem) for path in found if re.fullmatch(r"[0-9]{3,}", path.stem))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process writes into the folder; see `mupi.training.lock.held`."""
        with held(self.directory, self.otherwise):
            remove_partial(self.directory / EPOCHS)
            yield

    @property
    def present(self) -> bool:
        """Whether there is something to go on from, or to lose: not so if a start was cut off."""
        if (self.directory / STARTING).exists():
            return False
        if self.metrics_path.exists() and self.metrics_path.stat().st_size:
            return True
        return any(path.exists() for path in (self.checkpoint_path, *(self.directory / name for name in self.outputs)))

    def refuse_if_present(self) -> None:
        """Keep a saved run from being replaced by mistake.

        Raises:
            ValueError: If there is a run in the directory.
        """
        if self.present:
            raise ValueError(
                f"`{self.directory}` already holds a run; continue it with --resume, replace it with --overwrite, "
                "or choose another --name"
            )

    def start(self, state: Mapping[str, Any] | None = None) -> None:
        """Make the directory hold a new run, and nothing that an old one has written; what others have written stays.

        Args:
            state: What to go on from before the first step; None if the first checkpoint comes later.

        Raises:
            ValueError: If the directory holds files, but no run.
        """
        self._refuse_if_of_something_else()
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / STARTING).touch()
        old = [self.epoch_path(epoch) for epoch in self.kept_epochs()]
        for path in (self.checkpoint_path, *(self.directory / name for name in self.outputs), *old):
            path.unlink(missing_ok=True)
        write_records(self.metrics_path, [])
        self.write_config()
        if state is not None:
            self.save(state)

    def write_config(self) -> None:
        """Write ``config.json``."""
        write_sealed(self.config_path, self.settings, indent=2)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole.

        Args:
            state: Tensors, numbers and strings in dictionaries and lists.
        """
        known = len(self._known(state))
        write_sealed(self.checkpoint_path, {"config": dict(self.identity), "state": dict(state), "records": known})
        (self.directory / STARTING).unlink(missing_ok=True)

    def stop(self, state: Mapping[str, Any], done: str, then: str = "--resume goes on from there") -> NoReturn:
        """Save the state between two steps, and end.

        Args:
            state: The state of training, as `save` takes it.
            done: What was interrupted, and after how many steps.
            then: What the user is to do to go on, in words.

        Raises:
            KeyboardInterrupt: Once it is saved.
        """
        self.save(state)
        raise KeyboardInterrupt(f"interrupted {done}; `{self.directory}` holds them all, and {then}")

    def keep(self, epoch: int, net: Mapping[str, Any]) -> None:
        """Keep the network of an epoch.

        Args:
            epoch: Counted from 1; 0 for the untrained network.
            net: Its `state_dict`, and what it was made for.
        """
        path = self.epoch_path(epoch)
        path.parent.mkdir(exist_ok=True)
        write_sealed(path, {"config": dict(self.identity), "state": dict(net)})

    def read(self, path: Path, *, mapped: bool = False) -> dict[str, Any]:
        """The state in one of the run's files.

        Args:
            path: ``checkpoint_path``, or the `epoch_path` of an epoch.
            mapped: Whether tensors stay in the file until they are used, so that large ones are not in memory twice.

        Raises:
            FileNotFoundError: If there is no such file.
            DamagedFile: If it is not as it was written, or of another version.
            ValueError: If it is of another configuration.
        """
        return self._read(path, mapped)["state"]

    def load(self, *, mapped: bool = False) -> dict[str, Any]:
        """Read the state to go on from, and drop the metrics that go beyond it.

        Args:
            mapped: See `read`.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            DamagedFile: If a file is not as it was written, or of another version.
            ValueError: If the checkpoint is of another configuration.
        """
        if (self.directory / STARTING).exists():
            raise FileNotFoundError(f"`{self.directory}` was not started yet; leave --resume out to start this run")
        saved = self._read(self.checkpoint_path, mapped)
        with understood(self.checkpoint_path, self.start_again):
            known = self._known(saved["state"])
        if len(known) != saved.get("records", len(known)):
            raise DamagedFile(
                f"`{self.metrics_path}` is damaged: it has {len(known)} of the {saved['records']} lines up to the "
                f"checkpoint; {self.start_again}"
            )
        write_records(self.metrics_path, known)
        self.write_config()
        return saved["state"]

    def append(self, metrics: R) -> None:
        """Add a line to ``metrics.jsonl``."""
        write_records(self.metrics_path, [*self.metrics(), metrics])

    def metrics(self) -> list[R]:
        """All records so far."""
        return read_records(self.metrics_path, self.record, self.writer, self.start_again)

    def _known(self, state: Mapping[str, Any]) -> list[R]:
        """The metrics up to a state."""
        count = self.counted_by
        return [m for m in self.metrics() if getattr(m, count) <= state[count]]

    def _read(self, path: Path, mapped: bool) -> dict[str, Any]:
        if not path.exists():
            raise FileNotFoundError(f"`{path}` is missing; leave --resume out to start this run")
        saved = read_sealed(path, self.start_again, mapped=mapped)
        with understood(path, self.start_again):
            known = self.current({**self.defaults, **saved["config"]})
            if not isinstance(saved["state"], dict):
                raise ValueError("no state")
        for name, value in self.identity.items():
            if name in known and known[name] != value:
                must = f"{known[name]!r} as in `{path}` to resume it"
                fail(self.argument(name), must, repr(value), f"or {self.otherwise}")
        with understood(path, self.start_again):
            if not self.identity.keys() <= known.keys() <= self.settings.keys():
                raise ValueError("fields that this version does not know")
        return saved

    def _refuse_if_of_something_else(self) -> None:
        """Keep files that no run has written from being replaced.

        Raises:
            ValueError: If there are files, and no configuration of such a run.
        """
        found = sorted(p.name for p in self.directory.glob("*") if not p.name.startswith("."))
        if not found or (self.directory / STARTING).exists():
            return
        own = {CONFIG, METRICS, CHECKPOINT, EPOCHS, *self.outputs}
        foreign = [name for name in found if name not in own]
        if CONFIG in found:
            try:
                saved = read_sealed(self.config_path)
            except DamagedFile:
                # Cut off by an earlier version, say: then it is a run's if all the others are.
                if not foreign:
                    return
            else:
                # Of any version: most of the fields are those of such a run.
                if 2 * len(saved.keys() & self.settings.keys()) > len(self.settings):
                    return
        raise ValueError(
            f"`{self.directory}` holds files that are not of a run of `{self.writer}`, such as "
            f"`{(foreign or found)[0]}`; {self.otherwise}"
        )
