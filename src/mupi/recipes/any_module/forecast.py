"""`mupi recipe forecast`: what narrow networks say of a wide one's loss curve, held against the wide one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from mupi.checks import fail, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import DataFolder, Within, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.distributed.launched import launched
from mupi.figures.forecast import plot_forecasts
from mupi.figures.names import called
from mupi.mup.forecast import curves
from mupi.mup.kept_runs import RUNS, Run
from mupi.mup.width_law import WidthLaw
from mupi.recipes.any_module.tasks import Task, image_task, text_task
from mupi.reports import Report
from mupi.training.lock import held_by_first
from mupi.training.records import read_records

OTHERWISE = "choose another --out"


@dataclass(frozen=True)
class Sizes:
    """Widths and rate of one kind of network.

    Attributes:
        narrow: Widths to forecast from; at the least of them the parametrization changes nothing.
        wide: The width that is forecast.
        rate: Learning rate of AdamW, at the least width.
    """

    narrow: tuple[int, ...]
    wide: int
    rate: float


SIZES = {
    "mlp": Sizes((32, 64, 128), 1024, 2e-3),
    "cnn": Sizes((16, 32, 64), 256, 4e-3),
    "vit": Sizes((24, 48, 96), 384, 2e-3),
    "gpt": Sizes((24, 48, 96), 384, 4e-3),
}
"""By the network."""

TaskName = Literal[
    "mlp-digits",
    "cnn-digits",
    "vit-digits",
    "mlp-cifar10",
    "cnn-cifar10",
    "vit-cifar10",
    "mlp-text",
    "cnn-text",
    "gpt-text",
]

TASKS: tuple[TaskName, ...] = get_args(TaskName)


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """Forecast the loss curves of wide networks in μP from narrow ones, train the wide ones too, and compare.

    Every run is kept in the folder as soon as it ends; a second call trains only those that are missing.
    """

    tasks: tuple[TaskName, ...] = TASKS
    """Networks and data: mlp, cnn or vit on digits or cifar10; mlp, cnn or gpt on text."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    text: Path | None = None
    """The text, also as .xz; None for Python's own documentation."""
    steps: int = 120
    """Of AdamW, in each run."""
    batch_size: int = 16
    """Images or pieces of text a step."""
    seeds: int = 4
    """Narrow networks at each width."""
    wide_seeds: int = 2
    """Wide networks, to hold the forecast against."""
    points: int = 12
    """Times at which a curve is known, each the mean of as many steps."""
    level: Annotated[float, Within(0.01, 0.999)] = 0.9
    """Of the band."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/forecast")
    """Where runs, `forecast.json` and `forecast.png` are kept."""

    def __post_init__(self):
        for name in ("steps", "batch_size", "seeds", "wide_seeds", "points"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        if self.seeds < 2:
            fail("--seeds", "at least 2, for a band", self.seeds)
        if self.points > self.steps:
            fail("--points", f"at most the {self.steps} steps", self.points)
        if self.text is not None and not self.text.is_file():
            fail("--text", "a file", f"`{self.text}`")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            fail("--tasks", "at least one, each once", " ".join(self.tasks) or "none")


@dataclass(frozen=True)
class Held:
    """A forecast and the wide runs that it is held against.

    Attributes:
        law: The forecast.
        runs: Curves of the wide network, (seeds, times).
        narrow_seconds: How long all narrow runs took.
        wide_seconds: How long one wide run took.
    """

    law: WidthLaw
    runs: np.ndarray
    narrow_seconds: float
    wide_seconds: float

    @property
    def coverage(self) -> float:
        """The share of times and seeds at which a wide run is in the band."""
        return float(np.mean([self.law.covers(run) for run in self.runs]))

    @property
    def width(self) -> float:
        """Half of the band relative to the mean, on average over the times."""
        return float(np.mean(self.law.half_width / self.law.mean))

    @property
    def narrowest_gap(self) -> float:
        """How far the widest of the narrow networks is from the mean of the wide ones, relatively, over the times."""
        wide = self.runs.mean(0)
        return float(np.mean(np.abs(self.law.losses[-1].mean(0) - wide) / wide))

    @property
    def error(self) -> float:
        """How far the forecast's mean is from the mean of the wide runs, relatively, over the times."""
        wide = self.runs.mean(0)
        return float(np.mean(np.abs(self.law.mean - wide) / wide))

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        numbers = {name: getattr(self, name) for name in ("coverage", "width", "narrowest_gap", "error")}
        seconds = {"narrow_seconds": self.narrow_seconds, "wide_seconds": self.wide_seconds}
        return {**numbers, **seconds, "runs": self.runs.tolist(), "law": self.law.to_json()}


def forecast_recipe(config: ForecastConfig) -> dict[str, Held]:
    """Train what is not kept yet; print a table, and write figure and JSON.

    Processes that `torchrun` has started take the runs in turn, in a folder that all see.

    Returns:
        By the task's name.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which loses the run in training only.
        ValueError: If the folder has runs of other settings, or another process writes into it.
        FloatingPointError: If a run diverges.
    """
    set_threads(config.threads)
    with launched("cpu") as processes, held_by_first(config.out, processes, OTHERWISE):
        console, found = Console(quiet=not processes.first), {}
        for name in config.tasks:
            console.print(f"{name} …", highlight=False)
            found[name] = held_against_wide(config, name, console, processes.together is not None)
        if not processes.first:
            return found
        report = Report("Loss curves of wide networks, forecast from narrow ones", plain_fields(config), console)
        report.table(table(config, found))
        saved = {"config": plain_fields(config), "tasks": {name: h.to_json() for name, h in found.items()}}
        report.json(config.out / "forecast.json", saved, indent=None)
        panels = {titled(name): h.law.panel(config.steps, h.runs) for name, h in found.items()}
        report.figure(config.out / "forecast.png", plot_forecasts(panels, columns=3))
        report.write(config.out)
    return found


def held_against_wide(config: ForecastConfig, name: str, console: Console, shared: bool = False) -> Held:
    """One task.

    Args:
        config: The settings.
        name: The task's.
        console: Where to show progress.
        shared: Whether the processes of a group take the runs in turn.
    """
    task, sizes = task_of(config, name), SIZES[name.split("-")[0]]

    def trained(what: str, widths: tuple[int, ...], seeds: range) -> tuple[np.ndarray, float]:
        """Curves, and the seconds that a seed of all widths took."""
        folder = config.out / name / what
        losses = curves(
            task.make_model, widths, task.x, task.y, loss=task.loss, lr=sizes.rate, base_width=sizes.narrow[0],
            seeds=seeds, steps=config.steps, batch_size=config.batch_size, points=config.points, directory=folder,
            console=console, shared=shared,
        )  # fmt: skip
        if not np.isfinite(losses).all():
            raise FloatingPointError(f"a run of {name} diverges")
        runs = read_records(folder / RUNS, Run, "mupi recipe forecast")
        mine = [run.seconds for run in runs if run.width in widths and run.seed in seeds]
        return losses, sum(mine) / len(seeds)

    losses, narrow = trained("narrow", sizes.narrow, range(config.seeds))
    # Seeds of their own: other initial values than any narrow network's, in the same order of batches.
    wide_seeds = range(config.seeds, config.seeds + config.wide_seeds)
    runs, wide = trained("wide", (sizes.wide,), wide_seeds)
    return Held(WidthLaw(sizes.narrow, losses, sizes.wide, config.level), runs[0], narrow * config.seeds, wide)


def task_of(config: ForecastConfig, name: str) -> Task:
    """The network and the data of a task.

    Args:
        config: Where the data are.
        name: Network and data, as in `TASKS`.
    """
    network, data = name.split("-")
    return text_task(network, config.text) if data == "text" else image_task(network, data, config.data_dir)


def titled(name: str) -> str:
    """What the figure calls a network and its data."""
    return ", ".join(map(called, name.split("-")))


def table(config: ForecastConfig, found: dict[str, Held]) -> Table:
    """One row a task, and all of them together."""
    shown = Table("task", "widths", "in band", "band", "error", "gap", "p", "cost", title="Forecast of wide networks")
    shown.caption = (
        f"in band: share of {config.wide_seeds} wide runs at all times in the {config.level:.0%} band; band: half of "
        "it, relative; error: of its mean; gap: from the widest narrow network to the wide one; p: of the law's "
        "residuals; cost: seconds of all narrow runs and of one wide run"
    )
    for name, h in found.items():
        widths = f"{h.law.widths[0]}…{h.law.widths[-1]}→{h.law.width:g}"
        cost = f"{h.narrow_seconds:.0f}/{h.wide_seconds:.0f}"
        ratios = (f"{100 * x:.1f} %" for x in (h.width, h.error, h.narrowest_gap))
        shown.add_row(name, widths, f"{h.coverage:.0%}", *ratios, f"{h.law.misfit:.2f}", cost)
    shown.add_section()
    shown.add_row("all", "", f"{np.mean([h.coverage for h in found.values()]):.0%}")
    return shown
