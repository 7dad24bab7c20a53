"""`mupi plot`: figures that compare saved runs."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from mupi.checks import fail
from mupi.commands.options import WrittenFolder
from mupi.commands.train.report import report_runs
from mupi.commands.train.run import WRITER
from mupi.training.epoch_metrics import EpochMeasures, EpochMetrics, RegressionMetrics
from mupi.training.records import read_records
from mupi.training.run_folder import CONFIG, METRICS
from mupi.training.sealed import read_sealed


@dataclass(frozen=True)
class PlotConfig:
    """Plot loss, accuracy, time and memory of saved runs, side by side."""

    runs: Positional[tuple[Path, ...]]
    """The runs' directories."""
    out: WrittenFolder = Path("runs/figures")
    """Where to write `curves.png`, `cost.png` and `report.html`."""


def plot(config: PlotConfig) -> list[Path]:
    """Write the figures, and say where.

    Returns:
        The files.

    Raises:
        ValueError: If no directory is named.
        FileNotFoundError: If a directory has no metrics.
    """
    if not config.runs:
        fail("plot", "given the directories of runs", "none", "try `mupi plot runs/*`")
    advice = f"name other directories that `{WRITER}` has written"
    names = [Path(os.path.abspath(run)).name for run in config.runs]
    labels = names if len(set(names)) == len(names) else map(str, config.runs)
    read = (read_records(run / METRICS, record_of(run), WRITER, advice) for run in config.runs)
    settings = {"runs": " ".join(map(str, config.runs))}
    return report_runs(dict(zip(labels, read, strict=True)), config.out, settings, Console())


def record_of(run: Path) -> type[EpochMeasures]:
    """What the lines of a run's metrics are: of numbers where its configuration says so."""
    numbers = (run / CONFIG).is_file() and read_sealed(run / CONFIG).get("task") == "regression"
    return RegressionMetrics if numbers else EpochMetrics
