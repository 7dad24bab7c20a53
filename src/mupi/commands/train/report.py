"""What a run's folder shows: figures, and one page with them and the last epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mupi.figures.cost import plot_cost
from mupi.figures.curves import plot_curves
from mupi.layers import LayerError
from mupi.reports import Report
from mupi.training.epoch_metrics import EpochMeasures, EpochMetrics, RegressionMetrics
from mupi.training.records import columns

Errors = Mapping[str, tuple[float, float]]
"""Of each layer, the relative errors of its output and of the gradient that it hands down: see `LayerError`."""

NOTABLE = 0.05
"""From this relative error of a layer's outputs on, a network is called the limit of a truncated kernel."""


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
    report_errors(
        report, {label: by_layer(epochs[-1].layer_errors if epochs else ()) for label, epochs in runs.items()}
    )
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


def by_layer(errors: Sequence[LayerError]) -> Errors:
    """What `report_errors` takes of one network."""
    return {e.layer: (e.output, e.gradient) for e in errors}


def report_errors(report: Report, errors: Mapping[str, Errors]) -> None:
    """How far layers are from the exact limit's, if this was measured, and what the largest error says.

    Args:
        report: What it is added to.
        errors: Of each network, by its label; empty where nothing was measured.
    """
    if any(errors.values()):
        report.table(error_table(errors))
        report.say(truncation(max(output for found in errors.values() for output, _ in found.values())))


def error_table(errors: Mapping[str, Errors]) -> Table:
    """One row for each network of which they were measured."""
    layers = dict.fromkeys(layer for found in errors.values() for layer in found)
    shown = Table("", *layers, title="layers beside the exact limit's: relative error, output / input gradient")
    for label, found in errors.items():
        if found:
            shown.add_row(label, *("{:.4f} / {:.4f}".format(*found[k]) if k in found else "" for k in layers))
    return shown


def truncation(largest: float) -> str:
    """What the largest error of a layer's outputs says."""
    if largest < NOTABLE:
        return f"Layers' outputs are within {100 * largest:.2g} % of the exact limit's, on test inputs at the end."
    return (
        f"A layer's outputs are {100 * largest:.2g} % off the exact limit's: what was trained is the limit of a "
        "truncated kernel. More directions (subspace) or degrees of `Hermite` come closer; `Atoms` are exact."
    )


def score(m: EpochMeasures) -> float:
    """How good an epoch is in the test: accuracy, or R²."""
    if isinstance(m, RegressionMetrics):
        return m.test_r2
    assert isinstance(m, EpochMetrics)
    return m.test_accuracy
