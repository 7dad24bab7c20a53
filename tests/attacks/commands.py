"""A command of `mupi` in a copy of this process, stopped where its work would begin."""

import faulthandler
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mupi.cli import main

BEGUN = 99
"""The exit status of a command whose arguments were accepted."""

MEMORY = 2 << 30
SECONDS = 20

WORK = [
    "mupi.training.loop.train_epoch",
    "mupi.recipes.comparison.contestants.KernelRegression.fit",
    "mupi.recipes.comparison.kernel_by_epoch.score_saved",
    "mupi.commands.train.export.export_module",
    "mupi.recipes.widths.convergence.trajectory",
    "mupi.commands.coordcheck.coordinate_check",
    "mupi.recipes.widths.lr_transfer.final_loss",
    "mupi.recipes.mu_limit.beside_networks.limit_curves",
    "mupi.commands.program.converge",
    "mupi.recipes.omniglot.meta_training.MetaTraining.step",
    "mupi.recipes.omniglot.few_shot.accuracy",
    "mupi.recipes.word2vec.word_training.Training.train_passage",
    "mupi.recipes.transfer.scoring.Scoring.part",
    "mupi.recipes.transfer.scoring.Scoring.baseline",
]
"""Where each command begins what takes long."""


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        status: Its exit status; negative for a signal.
        said: On stderr.
    """

    status: int
    said: str

    @property
    def accepted(self) -> bool:
        """Whether it began its work, or did all of it."""
        return self.status in (0, BEGUN)

    def outcome(self, names: Sequence[str], *, sensible: bool) -> str:
        """Of an attack: right, refused, silent, traceback or crash.

        Args:
            names: One of these a refusal must hold.
            sensible: Whether the arguments may be accepted.
        """
        if self.status < 0:
            return "crash"
        if "Traceback (most recent call last)" in self.said:
            return "traceback"
        if self.accepted:
            return "right" if sensible else "silent"
        # A line that does not say what is wrong is no better than a traceback.
        return "refused" if sensible or any(name in self.said for name in names) else "traceback"


def begin_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command end where its work would begin."""

    def begin(*args: object, **kwargs: object) -> None:
        os._exit(BEGUN)

    for name in WORK:
        monkeypatch.setattr(name, begin)
    for module in ("contestants", "kernel_by_epoch"):
        here = f"mupi.recipes.comparison.{module}.in_own_process"
        monkeypatch.setattr(here, lambda function, *args, **kwargs: function(*args, **kwargs))


def attempt(args: Sequence[str], directory: Path) -> End:
    """Run `mupi` with these arguments in a directory, in a copy of this process with limits."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                faulthandler.disable()  # pytest's, which would show a crash that is counted
                os.chdir(directory)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(said.fileno(), 2)
                sys.stdout, sys.stderr = (
                    os.fdopen(1, "w", closefd=False),
                    os.fdopen(2, "w", closefd=False),
                )  # not pytest's
                size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
                resource.setrlimit(resource.RLIMIT_AS, (size, size))
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                code = main(args)
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(int(code))
        _, status = os.waitpid(child, 0)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return End(os.waitstatus_to_exitcode(status), text)


def describe(end: End) -> str:
    """The end of what it said, for a failure's line."""
    how = signal.Signals(-end.status).name if end.status < 0 else f"status {end.status}"
    return f"{how}, {' '.join(end.said.split())[-160:]}"
