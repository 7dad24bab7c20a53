"""What a run's folder shows: figures, and one page with them and the last epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mupi.figures.cost import plot_cost
from mupi.figures.curves import plot_curves
from mupi.reports import Report
from mupi.training.epoch_metrics import EpochMeasures, EpochMetrics, RegressionMetrics
from mupi.training.records import columns


def report_runs(
    runs: Mapping[str, Sequence[EpochMeasures]],
    directory: Path,
    settings: Mapping[str, object],
    console: Console,
    others: Mapping[str, Figure] | None = None,
) -> list[Path]:
    """Write ``curves.png``, ``cost.png`` and ``report.html`` of some runs, side by side in each.

    Args:
        runs: Label and epochs of each run.
        directory: Where to; it is created if need be.
        settings: What the runs were made with.
        console: Where it is printed which files were written.
        others: More figures, by the names of their files.

    Returns:
        The files.
    """
    found = {label: columns(epochs) for label, epochs in runs.items()}
    directory.mkdir(parents=True, exist_ok=True)
    report = Report(" and ".join(runs) if len(runs) < 4 else f"{len(runs)} runs", settings, console)
    report.table(last_epochs(runs))
    report.figure(directory / "curves.png", plot_curves(found), "Solid: on test data. Dashed: in training.")
    report.figure(directory / "cost.png", plot_cost(found))
    for name, figure in (others or {}).items():
        report.figure(directory / name, figure)
    return report.write(directory)


def last_epochs(runs: Mapping[str, Sequence[EpochMeasures]]) -> Table:
    """One row a run: its last epoch, and the best score on the way, which was chosen with the test data."""
    shown = Table("run", "epochs", "test", "of the best epoch", "test loss", "seconds", "stored MB")
    for label, epochs in runs.items():
        if epochs:
            last, best = epochs[-1], max(map(score, epochs))
            unit = "{:.2%}" if isinstance(last, EpochMetrics) else "R² {:.3f}"
            shown.add_row(
                label, f"{last.epoch}", unit.format(score(last)), unit.format(best), f"{last.test_loss:.4f}",
                f"{sum(m.seconds for m in epochs):,.1f}", f"{last.stored_mb:,.1f}",
            )  # fmt: skip
    return shown


def score(m: EpochMeasures) -> float:
    """How good an epoch is in the test: accuracy, or R²."""
    if isinstance(m, RegressionMetrics):
        return m.test_r2
    assert isinstance(m, EpochMetrics)
    return m.test_accuracy
