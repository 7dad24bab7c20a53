"""`mupi omniglot-plot`: figures that compare saved few-shot runs: curves, classes, and accuracy over width."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tyro.conf import Positional

from mupi.checks import fail
from mupi.commands.options import WrittenFolder
from mupi.recipes.omniglot.few_shot_records import Accuracy, Progress
from mupi.recipes.omniglot.plots import plot_classes, plot_few_shot_curves, plot_width, titled
from mupi.recipes.omniglot.run import KERNELS, RESULT, WRITER
from mupi.reports import Report
from mupi.statistics import spread
from mupi.training.damaged import understood
from mupi.training.records import columns, of_fields, read_records
from mupi.training.run_folder import CONFIG, METRICS
from mupi.training.sealed import read_sealed

ADVICE = f"name other directories that `{WRITER}` has finished"
FIXED = ("NNGP", "NTK")
"""Kernels that are the same in all runs."""


@dataclass(frozen=True)
class OmniglotPlotConfig:
    """Compare saved runs of `mupi omniglot`: table over seeds, curves, classes, and test accuracy over width."""

    runs: Positional[tuple[Path, ...]]
    """The runs' directories, one for each seed."""
    out: WrittenFolder = Path("runs/omniglot")
    """Where to write `curves.png`, `classes.png` (of the first run of each model) and, if networks of several widths
    are among the runs, `width.png`."""


def omniglot_plot(config: OmniglotPlotConfig) -> list[Path]:
    """Print the table and write the figures.

    Returns:
        The files.

    Raises:
        ValueError: If no directory is named.
        FileNotFoundError: If a directory holds no finished run.
    """
    if not config.runs:
        fail("omniglot-plot", "given the directories of runs", "none", "try `mupi omniglot-plot runs/omniglot-*`")
    console = Console()
    tests: dict[str, list[Accuracy]] = {}
    validations: dict[str, list[Accuracy]] = {}
    widths: dict[int, list[float]] = {}
    limits: dict[str, list[float]] = {}
    curves, titles, seeds = {}, {}, {}
    panels: dict[str, Tensor] = {}
    classes = torch.empty(0)
    for run in config.runs:
        settings, result = (_read(run / name) for name in (CONFIG, RESULT))
        label = run.name.rpartition("-seed")[0] or run.name
        with understood(run / RESULT, ADVICE):
            test, validation = (of_fields(Accuracy, result[part]) for part in ("test", "validation"))
        with understood(run / CONFIG, ADVICE):
            width, title = settings.get("width"), titled(settings)
            if not (width is None or isinstance(width, int)):
                raise TypeError(width)
        titles[label] = title
        tests.setdefault(label, []).append(test)
        validations.setdefault(label, []).append(validation)
        if width is None:
            limits.setdefault(label, []).append(test.mean)
        else:
            widths.setdefault(width, []).append(test.mean)
        if progress := read_records(run / METRICS, Progress, WRITER, ADVICE):
            curves[run.name] = columns(progress)
            seeds[run.name] = f"{title}, seed {settings.get('seed', '?')}"
        if (path := run / KERNELS).is_file():
            saved = read_sealed(path, ADVICE)
            with understood(path, ADVICE):
                classes = saved["labels"]
                shown = {t if t in FIXED else f"{title}, {t}": kernel for t, kernel in saved["kernels"].items()}
                if not all(kernel.shape == 2 * classes.shape for kernel in shown.values()):
                    raise ValueError("kernels of other images")
            panels |= {name: kernel for name, kernel in shown.items() if name not in panels}
    table = Table("%", "test classes", "validation classes", "seeds")
    table.caption = (
        "mean ± s.d. over seeds, and the 95 % interval of one seed's tasks; validation tasks are the same for all seeds"
    )
    for label in tests:
        table.add_row(label, _spread(tests[label]), _spread(validations[label]), str(len(tests[label])))
    report = Report("Omniglot, one image a class", {"runs": " ".join(map(str, config.runs))}, console)
    report.table(table)
    figures = {}
    if curves:
        figures["curves.png"] = plot_few_shot_curves(by_title(curves, seeds))
    if panels:
        fixed = {title: panels[title] for title in FIXED if title in panels}
        figures["classes.png"] = plot_classes(fixed | panels, classes)
    if len(widths) > 1:
        figures["width.png"] = plot_width(widths, by_title(limits, titles))
    config.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        report.figure(config.out / name, figure)
    return report.write(config.out)


def by_title(folders: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """By the models' names, if no two folders have the same; else by the folders'."""
    called = [titles[folder] for folder in folders]
    return dict(zip(called, folders.values(), strict=True)) if len(set(called)) == len(called) else dict(folders)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: name a directory that `{WRITER}` has finished")
    return read_sealed(path, ADVICE)


def _spread(seeds: list[Accuracy]) -> str:
    means = [100 * seed.mean for seed in seeds]
    tasks = f"tasks ± {100 * fmean(seed.half_width for seed in seeds):.2f}"
    return f"{spread(means)} ({tasks})"
