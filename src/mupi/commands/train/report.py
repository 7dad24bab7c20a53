"""Writing a run's figures to files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mupi.figures.cost import plot_cost
from mupi.figures.curves import plot_curves
from mupi.training.atomic import write_figure
from mupi.training.epoch_metrics import EpochMeasures
from mupi.training.records import columns


def save_figures(runs: Mapping[str, Sequence[EpochMeasures]], directory: Path) -> list[Path]:
    """Write ``curves.png`` and ``cost.png`` of some runs, side by side in each.

    Args:
        runs: Label and epochs of each run.
        directory: Where to; it is created if need be.

    Returns:
        The files.
    """
    found = {label: columns(epochs) for label, epochs in runs.items()}
    directory.mkdir(parents=True, exist_ok=True)
    figures = {"curves.png": plot_curves(found), "cost.png": plot_cost(found)}
    for name, figure in figures.items():
        write_figure(directory / name, figure)
    return [directory / name for name in figures]
