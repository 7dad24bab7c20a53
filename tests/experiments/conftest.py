"""A training run of a second, and a way to press Ctrl-C in it."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mupi.experiments.training.config import TrainConfig
from mupi.experiments.training.presets import DIGITS
from mupi.experiments.training.progress import EpochProgress


@pytest.fixture
def small(tmp_path: Path) -> TrainConfig:
    """Three epochs of seven steps (the last of them a small batch), with a drop, momentum and weight decay."""
    return replace(
        DIGITS,
        train_size=100,
        rank=6,
        subspace=4,
        width=32,
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
    monkeypatch.setattr("mupi.experiments.training.train.save_figures", lambda runs, directory: [])


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
