"""Fixtures for every test: the real CIFAR-10, a training run of a second, a way to press Ctrl-C in it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from mupi.commands.train.config import TrainConfig
from mupi.commands.train.presets import DIGITS
from mupi.data import Dataset, data_directory, load_cifar10
from mupi.features import Hermite
from mupi.training.progress import EpochProgress

# The default suite tries the same examples every time, so that a change is judged by what it changes; with
# HYPOTHESIS_PROFILE=default (as in `make slow` and `make attack`) others are drawn in each run.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def cifar10() -> Dataset:
    """The real CIFAR-10; skips where $MUPI_DATA names no directory with its files."""
    if not os.environ.get("MUPI_DATA"):
        pytest.skip("needs CIFAR-10: set $MUPI_DATA to a directory with cifar-10-batches-py")
    if not (data_directory() / "cifar-10-batches-py").is_dir():
        pytest.skip(f"needs CIFAR-10: no cifar-10-batches-py in {data_directory()}")
    return load_cifar10(data_directory())


@pytest.fixture
def small(tmp_path: Path) -> TrainConfig:
    """Three epochs of seven steps (the last of them a small batch), with a drop, momentum and weight decay."""
    return DIGITS.changed(
        train_size=100,
        rank=6,
        features=Hermite(2, subspace=4),
        epochs=3,
        drop_epoch=2,
        momentum=0.5,
        weight_decay=1e-3,
        name="small",
        runs_dir=tmp_path,
    )


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take longer than such a run."""
    monkeypatch.setattr("mupi.commands.train.train.report_runs", lambda *_: [])


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the drawing of figures out of all pages, for tests of what else a command does."""
    monkeypatch.setattr("mupi.reports.Report.figure", lambda *_: None)


@pytest.fixture
def press_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``press_ctrl_c(after=n)``: the process gets a SIGINT in its n-th step from then on, once."""

    def arrange(after: int) -> None:
        steps = iter(range(1, 10**6))
        show = EpochProgress.advance

        def step(self: EpochProgress, *args: float) -> None:
            show(self, *args)
            if next(steps) == after:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(EpochProgress, "advance", step)

    return arrange
