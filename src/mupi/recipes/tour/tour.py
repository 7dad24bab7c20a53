"""`mupi tour`: in a minute, what it means that features are learned, and where it does not help."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mupi.commands.machine import set_threads
from mupi.commands.options import Seed, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.progress import counted
from mupi.recipes.sample_complexity.tasks import FACTORS, PIXELS, TASKS
from mupi.recipes.sample_complexity.weighted import importances
from mupi.recipes.tour.contests import LEARNER, NAMES, ROWS, WEIGHTED, Looked, Outcome, contests
from mupi.recipes.tour.plots import plot_tour
from mupi.recipes.tour.widths import WIDTHS, Distance, distances
from mupi.reports import Report
from mupi.training.lock import held

SEEDS = 3
"""Of networks on their way to the limit."""

LEGEND = (
    "Above: how much of the first layer is about each column; accuracy by width. Below: test rows in two principal "
    "components of the last hidden layer, before and after training, each as its digit; how far finite networks are "
    "from the exact limit."
)

HEADS = {"signs": "4 of 20 signs", "noisy-digits": "digits + noise", "digits": "digits"}

READ_NEXT = {
    "what a limit is good for": "docs/start/what-for.md",
    "which one to take": "docs/start/which-limit.md",
    "your first limit": "docs/tutorials/first_limit.py",
    "your own table": "docs/how-to/tables.md",
    "your own network, in μP": "docs/mup.md",
}


@dataclass(frozen=True, kw_only=True)
class TourConfig:
    """See in a minute what a network of infinite width that learns features does, and where it is no help.

    On a product of signs, on digits beside columns of noise and on digits alone: kernels of infinitely wide networks,
    finite networks in μP, and the π-limit; then finite networks on their way to the exact limit. Data come with
    scikit-learn or are drawn.
    """

    seed: Seed = 0
    """Of what is drawn."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/tour")
    """Where `report.html`, `tour.json`, `tour.png` and `tour.svg` are kept."""


def tour(config: TourConfig) -> list[Outcome]:
    """Fit all; print a table and what it says, and write picture and JSON.

    Returns:
        One for each task and method.

    Raises:
        KeyboardInterrupt: After Ctrl-C; nothing is kept.
        ValueError: If another process writes into the folder.
    """
    console = Console()
    set_threads(config.threads)
    with held(config.out, "choose another --out"):
        return _tour(config, console)


def _tour(config: TourConfig, console: Console) -> list[Outcome]:
    """`tour` in a folder that is held."""
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    looked: dict[str, Looked] = {}
    with counted(len(ROWS) * len(NAMES) + SEEDS + len(WIDTHS) + 1, console) as begin:
        for outcome, look in contests(config.seed, begin):
            outcomes.append(outcome)
            if look is not None:
                looked[outcome.task] = look
        seeds = range(config.seed, config.seed + SEEDS)
        found = distances(looked["noisy-digits"].data, seeds, WIDTHS, begin)
    report = Report("A network of infinite width that learns features", plain_fields(config), console)
    report.table(table(outcomes, found))
    report.say(*(f"• {line}" for line in said(outcomes, looked, found)))
    report.figure(config.out / "tour.png", plot_tour(looked, found), LEGEND)
    report.json(config.out / "tour.json", as_json(outcomes, looked, found))
    report.write(config.out)
    console.print(f"\n{time.perf_counter() - start:.0f} s in all. Open {config.out}/report.html; read next:")
    for what, page in READ_NEXT.items():
        console.print(f"  {page:32} {what}", highlight=False)
    console.print("  mupi recipe sample-complexity    the same by number of samples, with errors", highlight=False)
    return outcomes


def table(outcomes: Sequence[Outcome], found: Sequence[Distance]) -> Table:
    """One row a method; below, finite networks on their way to the limit.

    Args:
        outcomes: Of methods.
        found: Of networks beside the exact limit.
    """
    shown = Table("test accuracy, %", title="What feature learning does", caption_justify="left")
    for name in ROWS:
        shown.add_column(HEADS[name], justify="right")
    shown.add_column("off", justify="right")
    for method in NAMES:
        own = {one.task: one for one in outcomes if one.method == method}
        style = "bold" if method in (LEARNER, WEIGHTED) else None
        cells = (f"{100 * own[name].accuracy:.1f}" for name in ROWS)
        shown.add_row(method, *cells, "", style=style, end_section=method in (NAMES[1], NAMES[-1]))
    for one in found:
        shown.add_row(one.name, "", f"{100 * one.accuracy:.1f} ± {100 * one.deviation:.1f}", "", f"{one.distance:.3f}")
    shown.caption = (
        f"below the line: π-nets of ReLU after a short training, ± s.d. of {len(found[0].accuracies)} seeds; "
        "off: ‖f − f_∞‖/‖f_∞‖"
    )
    return shown


def said(outcomes: Sequence[Outcome], looked: dict[str, Looked], found: Sequence[Distance]) -> list[str]:
    """What the table says, in sentences with its numbers.

    Args:
        outcomes: Of methods.
        looked: What was learned.
        found: Of networks beside the exact limit.
    """
    of = {(one.task, one.method): 100 * one.accuracy for one in outcomes}
    kernel = {name: max(of[name, NAMES[0]], of[name, NAMES[1]]) for name in ROWS}
    signs = float(importances(looked["signs"].after)[:FACTORS].sum())
    pixels = float(importances(looked["noisy-digits"].after)[:PIXELS].sum())
    image = 100 / TASKS["digits"].test
    ahead = of["digits", LEARNER] - kernel["digits"]
    levels = "ahead of" if ahead > 2 * image else "level with" if ahead >= -2 * image else "behind"
    constant = found[-2]
    noisy = of["noisy-digits", LEARNER]
    return [
        f"A product of signs: kernels compare all twenty signs, for ever ({kernel['signs']:.0f} %). The π-limit, as "
        f"wide, has found the four that matter ({of['signs', LEARNER]:.0f} %): {signs:.0%} of its first layer is about "
        "them.",
        f"Digits beside noise: {pixels:.0%} of its first layer is about the {PIXELS} pixels, an eighth of the columns. "
        f"It learns some of the noise too ({noisy:.1f} %, kernels {kernel['noisy-digits']:.1f} %); but such a kernel, "
        f"of columns weighted by what it looks at, has {of['noisy-digits', WEIGHTED]:.1f} %.",
        f"Digits alone: it is {levels} the kernels ({of['digits', LEARNER]:.1f}, {kernel['digits']:.1f} %; one image "
        f"is {image:.2f} points): all pixels are about the class, and little is to be found that random features lack.",
        f"Finite networks come to the limit: from {found[0].distance:.2f} off at n = {found[0].width} to "
        f"{found[-3].distance:.2f} at {found[-3].width:,}; constant memory is {constant.distance:.3f} off.",
    ]


def as_json(outcomes: Sequence[Outcome], looked: dict[str, Looked], found: Sequence[Distance]) -> dict[str, Any]:
    """Everything that table and picture show, but for the planes."""
    return {
        "tasks": {name: {"title": TASKS[name].title, "rows": rows} for name, rows in ROWS.items()},
        "outcomes": [asdict(one) for one in outcomes],
        "importances": {
            name: {"before": importances(look.before).tolist(), "after": importances(look.after).tolist()}
            for name, look in looked.items()
        },
        "widths": [asdict(one) for one in found],
        "said": said(outcomes, looked, found),
    }
