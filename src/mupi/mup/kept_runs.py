"""Runs of many widths, rates and seeds, each kept in a folder as soon as it ends, and not run again."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mupi.checks import fail
from mupi.distributed.processes import ALONE, Processes
from mupi.statistics import number
from mupi.training.damaged import understood
from mupi.training.kept_records import KeptRecords
from mupi.training.lock import held_by_first
from mupi.training.records import Record
from mupi.training.sealed import read_sealed, write_sealed

SETTINGS = "settings.json"
RUNS = "runs.jsonl"
ADVICE = "choose another directory, or remove this one"

SAME = 1e-3
"""Relative difference of two first losses up to which they are those of the same training, on another machine say."""


@dataclass(frozen=True)
class Run(Record):
    """One run.

    Attributes:
        width: Of the network.
        rate: The learning rate.
        seed: Of initial values and batches.
        losses: What was measured; None where it was not finite.
        seconds: How long it took.
    """

    width: int
    rate: float
    seed: int
    losses: tuple[float | None, ...]
    seconds: float

    @property
    def key(self) -> tuple[int, float, int]:
        """What tells it from the others."""
        return self.width, self.rate, self.seed


class KeptRuns:
    """The runs so far, in memory, and in a file of one line each if there is one.

    Args:
        path: The file; None for none.
        writer: The call that writes it, for errors.
        processes: Those that train some of them.
    """

    def __init__(self, path: Path | None, writer: str, processes: Processes = ALONE):
        self.records = KeptRecords(path, Run, writer, ADVICE, processes)

    def losses(self, width: int, rate: float, seed: int, train: Callable[[], Sequence[float]]) -> list[float]:
        """What a run measured; it is trained if it was not yet.

        Args:
            width: Of the network.
            rate: The learning rate.
            seed: Of initial values and batches.
            train: Trains, and gives the losses; infinite or NaN where it diverged.
        """
        run = self.records.known.get((width, rate, seed))
        if run is None:
            start = time.perf_counter()
            losses = tuple(number(float(loss)) for loss in train())
            run = self.records.add(Run(width, rate, seed, losses, time.perf_counter() - start))
        return [math.inf if loss is None else loss for loss in run.losses]


@contextmanager
def kept_runs(
    directory: Path | str | None,
    settings: Mapping[str, Any],
    first_losses: Callable[[], Sequence[float]] | None,
    call: str,
    processes: Processes = ALONE,
) -> Iterator[KeptRuns]:
    """Runs that are kept in a folder which no other process writes into meanwhile.

    A function has no checksum, so that of the model, the optimizer and the loss the folder knows what they do: the
    first losses of a run. They are measured again and compared.

    Args:
        directory: The folder; None to keep nothing.
        settings: What decides every run, as JSON has it.
        first_losses: Of some run; None where that is not known.
        call: The call that the folder belongs to, for errors.
        processes: Those that train some of the runs.

    Yields:
        The runs, those that the folder has to begin with.

    Raises:
        ValueError: If the folder is of other settings, or its runs began with other losses; if another process uses it.
        DamagedFile: If a file is not as it was written.
    """
    if directory is None:
        yield KeptRuns(None, call, processes)
        return
    folder = Path(directory)
    with held_by_first(folder, processes, "choose another directory"):
        processes.from_first(lambda: _keep_settings(folder, settings, first_losses, call))
        yield KeptRuns(folder / RUNS, call, processes)


def _keep_settings(
    directory: Path, settings: Mapping[str, Any], first_losses: Callable[[], Sequence[float]] | None, call: str
) -> None:
    """Have a folder be of these settings and losses, or raise as `kept_runs` does."""
    path = directory / SETTINGS
    wanted = json.loads(json.dumps(dict(settings)))
    begins = None if first_losses is None else [number(float(loss)) for loss in first_losses()]
    if not path.exists():
        write_sealed(path, {"settings": wanted, "first_losses": begins})
        return
    saved = read_sealed(path, ADVICE)
    with understood(path, ADVICE):
        known, began = saved["settings"], saved["first_losses"]
    for name in wanted | known:
        if known.get(name) != wanted.get(name):
            must = f"of {name} = {known.get(name)!r}, as are the runs in `{directory}`"
            fail(f"{call}({name}=...)", must, repr(wanted.get(name)), ADVICE)
    if not _alike(began, begins):
        fail(
            f"{call}(directory=...)",
            f"a folder of runs of this model, which begin with the losses {_listed(begins)}",
            f"`{directory}`, whose begin with {_listed(began)}",
            ADVICE,
        )


def _alike(one: Sequence[float | None] | None, other: Sequence[float | None] | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return one is other
    return all(
        a is b if a is None or b is None else abs(a - b) <= SAME * max(abs(a), abs(b))
        for a, b in zip(one, other, strict=True)
    )


def _listed(losses: Sequence[float | None] | None) -> str:
    return "nothing" if losses is None else ", ".join("inf" if loss is None else f"{loss:.4g}" for loss in losses)
