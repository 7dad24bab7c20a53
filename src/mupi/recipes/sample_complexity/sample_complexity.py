"""`mupi recipe sample-complexity`: where features win, by the number of samples that it takes to learn."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning

from mupi.checks import fail, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import Seed, Within, WrittenFolder, option
from mupi.commands.train.plain_fields import plain_fields
from mupi.distributed.launched import launched
from mupi.distributed.turns import in_turn
from mupi.recipes.sample_complexity.methods import SHOWN, MethodName, scored
from mupi.recipes.sample_complexity.plots import plot_curves
from mupi.recipes.sample_complexity.scores import Curve, Score, as_json, curves, rows_to
from mupi.recipes.sample_complexity.tasks import TASKS, TaskName
from mupi.recipes.tables.methods import xrfm_is_there
from mupi.reports import Report
from mupi.training.kept_records import KeptRecords
from mupi.training.lock import held_by_first

ADVICE = "choose another --out, or remove this one"

Fit = tuple[int, MethodName, TaskName, int]
"""Seed, method, task and number of rows."""

LEVEL = 0.95
"""The table says how many rows lead to this accuracy."""


@dataclass(frozen=True, kw_only=True)
class SampleComplexityConfig:
    """Measure how many samples it takes to find the few directions that matter: accuracy by number of training rows.

    Kernels, networks of finite and of infinite width that learn features, boosting and xRFM; settings are chosen on
    training rows that are held out. Every score is kept in the folder as soon as it is known; a second call goes on
    with those that are missing.
    """

    names: tuple[TaskName, ...] = ("signs", "multi-index", "staircase", "noisy-digits")
    """Tasks by their names."""
    most_rows: int = 4000
    """Of training sets; larger ones are left out."""
    models: tuple[MethodName, ...] = get_args(MethodName)
    """Classifiers; xrfm if it is installed."""
    steps: Annotated[int, Within(1)] = 600
    """Of networks, at each rate that is tried, of 100 rows each."""
    seeds: int = 3
    """Draws of rows, each with initial values and orders of its own."""
    seed: Seed = 0
    """The first of them."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/sample-complexity")
    """Where `scores.jsonl`, `curves.json`, `curves.png` and `curves.svg` are kept."""

    def __post_init__(self):
        for name in ("most_rows", "seeds"):
            positive_int(option(name), getattr(self, name))
        for name in ("names", "models"):
            value = getattr(self, name)
            if not value or len(set(value)) < len(value):
                fail(option(name), "at least one, each once", " ".join(value) or "none")
        least = max(TASKS[name].sizes[0] for name in self.names)
        if self.most_rows < least:
            fail("--most-rows", f"at least {least}, the fewest of {' '.join(self.names)}", self.most_rows)


def sample_complexity(config: SampleComplexityConfig) -> dict[str, dict[str, Curve]]:
    """Fit what is not kept yet; print a table for each task, and write figure and JSON.

    Processes that `torchrun` has started take the fits in turn, in a folder that all see.

    Returns:
        Curves by task and method.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which loses the fit in progress only.
        ValueError: If another process writes into the folder.
    """
    set_threads(config.threads)
    models: list[MethodName] = [name for name in config.models if name != "xrfm" or xrfm_is_there()]
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        console = Console(quiet=not processes.first)
        if len(models) < len(config.models):
            console.print("xRFM is left out: it is not installed (pip install xrfm)", highlight=False)
        kept = KeptRecords(config.out / "scores.jsonl", Score, "mupi recipe sample-complexity", ADVICE, processes)
        wanted: list[Fit] = [
            (seed, model, name, rows)
            for seed in range(config.seed, config.seed + config.seeds)
            for model in models
            for name in config.names
            for rows in TASKS[name].sizes
            if rows <= config.most_rows
        ]
        missing: dict[Fit, str] = {
            (seed, model, name, rows): f"{TASKS[name].title}, {rows:,} rows: {SHOWN[model]}, seed {seed}"
            for seed, model, name, rows in wanted
            if (seed, model, name, rows) not in kept.known
        }

        def score(key: Fit) -> Score:
            seed, model, name, rows = key
            with warnings.catch_warnings():
                # Of a class that the held-out rows lack.
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.simplefilter("ignore", UserWarning)
                return kept.add(scored(model, TASKS[name].split(rows, seed), seed, config.steps))

        new = in_turn(processes, missing, score, console)
        found = curves((new | kept.known)[key] for key in wanted)
        if not processes.first:
            return found
        report = Report("Where features win: accuracy by number of samples", plain_fields(config), console)
        for name, methods in found.items():
            report.table(table(TASKS[name].title, methods))
        titles = {name: TASKS[name].title for name in found}
        report.json(config.out / "curves.json", as_json(found, titles, SHOWN))
        named = {titles[name]: {SHOWN[m]: curve for m, curve in methods.items()} for name, methods in found.items()}
        figure = plot_curves(named, {titles[name]: 1 / TASKS[name].classes for name in found})
        report.figure(config.out / "curves.png", figure, "Bars: ± one standard deviation over seeds.")
        report.write(config.out)
    return found


def table(title: str, methods: dict[str, Curve]) -> Table:
    """One row a method, one column a number of training rows.

    Args:
        title: Of the task.
        methods: By their names.
    """
    sizes: Sequence[int] = sorted({point.rows for curve in methods.values() for point in curve})
    shown = Table("test accuracy, %", *(f"{n:,} rows" for n in sizes), f"{LEVEL:.0%} from", "seconds", title=title)
    for name, curve in methods.items():
        cells = [f"{100 * p.mean:.1f}" + ("" if p.deviation is None else f" ± {100 * p.deviation:.1f}") for p in curve]
        enough = rows_to(LEVEL, curve)
        shown.add_row(
            SHOWN[name], *cells, "–" if enough is None else f"{enough:,} rows",
            f"{sum(p.seconds for p in curve):,.1f}",
        )  # fmt: skip
    return shown
