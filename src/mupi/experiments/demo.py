"""`mupi demo`: the π-limit on real images, exactly and at constant memory, side by side."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mupi.experiments.config import TrainConfig
from mupi.experiments.presets import DIGITS
from mupi.experiments.train import train
from mupi.figures import EpochMetrics, save_figures


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Train the π-limit on digits twice, with atoms and with Hermite features, and compare the two.

    Both start as the same function and see the same images in the same order.
    """

    epochs: int = DIGITS.epochs
    """Passes over the training images."""
    rank: int = DIGITS.rank
    """r, the rank of each junction."""
    seed: int = DIGITS.seed
    """Decides the initial network and the order of the images."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    runs_dir: Path = Path("runs")
    """Where the runs `demo-atoms` and `demo-hermite` are kept, and the figures, in `demo`."""


def demo(config: DemoConfig) -> dict[str, list[EpochMetrics]]:
    """Train both, print a table, and write the figures.

    Returns:
        The metrics of each run's epochs, by the run's label.
    """
    console = Console()
    start = replace(
        DIGITS,
        epochs=config.epochs,
        rank=config.rank,
        seed=config.seed,
        threads=config.threads,
        runs_dir=config.runs_dir,
        overwrite=True,
    )
    runs = {
        "Atoms (exact)": replace(start, features="atoms", name="demo-atoms"),
        f"Hermite (degree {start.degree})": replace(start, features="hermite", name="demo-hermite"),
    }
    metrics = {}
    for label, run in runs.items():
        console.print(f"{label}: {run.dataset}, r = {run.rank}, L = {run.depth}, seed {run.seed}", style="bold")
        metrics[label] = train_in_own_process(run)
    console.print(comparison(metrics))
    for path in save_figures(metrics, config.runs_dir / "demo"):
        console.print(f"wrote {path}", highlight=False)
    return metrics


def train_in_own_process(config: TrainConfig) -> list[EpochMetrics]:
    """`train` in a fresh process, whose peak memory is then that of this run alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(train, config).result()


def comparison(runs: dict[str, list[EpochMetrics]]) -> Table:
    """One column a run: its last epoch, with the seconds of all."""
    table = Table("after the last epoch", *runs)
    last = [epochs[-1] for epochs in runs.values()]
    seconds = [sum(m.seconds for m in epochs) for epochs in runs.values()]
    table.add_row("test accuracy", *(f"{m.test_accuracy:.2%}" for m in last))
    table.add_row("test loss", *(f"{m.test_loss:.4f}" for m in last))
    table.add_row("seconds of training, all epochs", *(f"{s:.1f}" for s in seconds))
    table.add_row("MB stored by the network", *(f"{m.stored_mb:.1f}" for m in last))
    table.add_row("MB growth of the process's peak", *(f"{m.peak_mb:.1f}" for m in last))
    table.add_row("atoms", *(f"{m.atoms:,}" for m in last))
    # A run without errors is exact, in each of the layers that the other reports.
    for layer in dict.fromkeys(error.layer for m in last for error in m.layer_errors):
        errors = [{e.layer: f"{e.output:.4f} / {e.gradient:.4f}" for e in m.layer_errors} for m in last]
        table.add_row(f"error of {layer}: output / gradient", *(e.get(layer, "0") for e in errors))
    return table
