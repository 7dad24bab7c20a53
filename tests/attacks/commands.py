"""A command of `mupi` in a copy of this process, stopped where its work would begin."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from forked import Child, End, Limits, start

from mupi.cli import main

BEGUN = 99
"""The exit status of a command whose arguments were accepted."""

LIMITS = Limits(memory=2 << 30, seconds=20)

WORK = [
    "mupi.training.loop.train_epoch",
    "mupi.recipes.comparison.contestants.KernelRegression.fit",
    "mupi.recipes.comparison.kernel_by_epoch.score_saved",
    "mupi.commands.train.export.export_module",
    "mupi.recipes.widths.convergence.trajectory",
    "mupi.commands.coordcheck.coordinate_check",
    "mupi.recipes.widths.lr_transfer.final_loss",
    "mupi.recipes.mu_limit.beside_networks.limit_curves",
    "mupi.commands.tensor_program.converge",
    "mupi.recipes.omniglot.meta_training.MetaTraining.step",
    "mupi.recipes.omniglot.few_shot.accuracy",
    "mupi.recipes.word2vec.word_training.Training.train_passage",
    "mupi.recipes.transfer.scoring.Scoring.part",
    "mupi.recipes.transfer.scoring.Scoring.baseline",
]
"""Where each command begins what takes long."""


def command(args: Sequence[str], directory: Path, prepare: Callable[[], None] = lambda: None) -> Child:
    """Begin `mupi` with these arguments in a directory, in a copy of this process."""

    def act() -> None:
        sys.argv = ["mupi", *args]
        sys.exit(main())

    return start(act, directory, prepare)


def attempt(args: Sequence[str], directory: Path) -> End:
    """Run it with limits."""
    return command(args, directory, LIMITS.impose).end()


def accepted(end: End) -> bool:
    """Whether a command began its work, or did all of it."""
    return end.status in (0, BEGUN)


def outcome(end: End, names: Sequence[str], *, sensible: bool) -> str:
    """Of an attack by arguments: right, refused, silent, traceback or crash.

    Args:
        end: Of the command.
        names: One of these a refusal must hold.
        sensible: Whether the arguments may be accepted.
    """
    if end.status < 0:
        return "crash"
    if "Traceback (most recent call last)" in end.said:
        return "traceback"
    if accepted(end):
        return "right" if sensible else "silent"
    # A line that does not say what is wrong is no better than a traceback.
    return "refused" if sensible or any(name in end.said for name in names) else "traceback"


def begin_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command end where its work would begin."""

    def begin(*args: object, **kwargs: object) -> None:
        os._exit(BEGUN)

    for name in WORK:
        monkeypatch.setattr(name, begin)
    for module in ("contestants", "kernel_by_epoch"):
        here = f"mupi.recipes.comparison.{module}.in_own_process"
        monkeypatch.setattr(here, lambda function, *args, **kwargs: function(*args, **kwargs))
