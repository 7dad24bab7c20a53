"""`mupi plot`: figures that compare saved runs."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from mupi.checks import fail
from mupi.experiments.options import WrittenFolder
from mupi.experiments.training.run import METRICS
from mupi.figures import read_metrics, save_figures


@dataclass(frozen=True)
class PlotConfig:
    """Plot loss, accuracy, time and memory of saved runs, side by side."""

    runs: Positional[tuple[Path, ...]]
    """The runs' directories."""
    out: WrittenFolder = Path("runs/figures")
    """Where to write `curves.png` and `cost.png`."""


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
    paths = save_figures({str(run): read_metrics(run / METRICS) for run in config.runs}, config.out)
    print(*(f"wrote {path}" for path in paths), sep="\n")
    return paths
