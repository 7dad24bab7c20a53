"""`mupi program`: word-sized Tensor Programs, explained line by line, and at finite widths beside their limits."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tyro.conf import Positional

from mupi.checks import fail, positive_int
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import Seed, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.figures.names import called
from mupi.figures.program_convergence import plot_convergence
from mupi.programs import Program
from mupi.programs.demos import DEMOS
from mupi.programs.limit_gaps import Convergence
from mupi.reports import Report
from mupi.training.lock import held


@dataclass(frozen=True)
class ProgramConfig:
    """Explain word-sized Tensor Programs, and compare runs at finite width with their limits."""

    demos: Positional[tuple[str, ...]] = ()
    """Which, such as `dependence`; none for a list, `all` for all."""
    samples: int = 16384
    """Samples of the limit, in each of 4 replicates, where it has no closed form."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Of the finite runs."""
    draws: int = 32
    """Finite runs of each width."""
    seed: Seed = 0
    """Of all randomness."""
    threads: int | None = None
    """Threads of torch; None leaves it to torch."""
    out: WrittenFolder = Path("runs/program")
    """Where `program.json` and `program.png` are written."""

    def __post_init__(self):
        positive_int("--samples", self.samples)
        if positive_int("--draws", self.draws) < 2:
            fail("--draws", "at least 2, for standard errors", self.draws)
        for width in self.widths:
            positive_int("--widths", width)
        if not len(set(self.widths)) == len(self.widths) >= 2:
            fail("--widths", "at least two widths, all different", self.widths)


def program(config: ProgramConfig) -> dict[str, Convergence]:
    """Explain and run the chosen demos; print tables, and write figure and JSON.

    Returns:
        What was measured, by demo.

    Raises:
        ValueError: If there is no such demo, or another process writes into the folder.
    """
    for name in config.demos:
        if name not in (*DEMOS, "all"):
            fail("mupi program", f"given one of {', '.join(DEMOS)}, or all", repr(name))
    console = Console(highlight=False)
    if not config.demos and config != ProgramConfig():
        fail("mupi program", f"given one of {', '.join(DEMOS)}, or all, for its options to say how", "none")
    if not config.demos:
        table = Table("mupi program …", "what it is")
        for name, demo in DEMOS.items():
            table.add_row(name, demo.about)
        console.print(table)
        return {}
    with held(config.out, "choose another --out"):
        return _program(config, console)


def _program(config: ProgramConfig, console: Console) -> dict[str, Convergence]:
    """`program` with demos, into a folder that is held."""
    set_threads(config.threads)
    # One matrix of the largest run, and one vector's samples; in float64.
    require_room("--widths", 8 * max(config.widths) ** 2)
    require_room("--samples", 8 * config.samples)
    names = tuple(DEMOS) if "all" in config.demos else config.demos
    results = {}
    for name in names:
        if len(names) <= 3:
            explain(name, config, console)
        results[name] = converge(name, config, console)
    report = Report("Tensor Programs beside networks", plain_fields(config), console)
    report.table(averages(results))
    report.table(slopes(results))
    measured = {name: asdict(result) for name, result in results.items()}
    report.json(config.out / "program.json", {"config": plain_fields(config), "demos": measured})
    figure = plot_convergence({called(k): (v.widths, v.gaps) for k, v in results.items()})
    report.figure(config.out / "program.png", figure)
    report.write(config.out)
    return results


def explain(name: str, config: ProgramConfig, console: Console) -> None:
    """Print a demo's lines."""
    p = Program()
    DEMOS[name].write(p)
    exact = DEMOS[name].exact
    generator = torch.Generator().manual_seed(config.seed)
    console.print(f"[bold]{name}[/]: {DEMOS[name].about}", "")
    console.print(p.explain() if exact else p.explain(config.samples, generator), "", markup=False, soft_wrap=True)


def converge(name: str, config: ProgramConfig, console: Console | None = None) -> Convergence:
    """Run a demo at every width, and measure its scalars' distance to the limit."""
    p, generator = Program(), torch.Generator().manual_seed(config.seed)
    shown = DEMOS[name].write(p)
    limit = p.limit() if DEMOS[name].exact else p.limit(config.samples, generator)
    exact = torch.cat([limit[s].flatten() for s in shown.values()])
    error = torch.cat([limit.error(s).flatten() for s in shown.values()])
    by_width = []
    hidden = console is None
    for n in track(config.widths, name, console=console, disable=hidden, transient=True):
        runs = [p.run(n, generator) for _ in range(config.draws)]
        by_width.append(torch.stack([torch.cat([run[s].flatten() for s in shown.values()]) for run in runs]))
    squares = [(values - exact).square().mean(1) for values in by_width]
    gaps = [float(square.mean().sqrt()) for square in squares]
    root = config.draws**0.5
    return Convergence(
        labels=tuple(label for label, s in shown.items() for _ in range(limit[s].numel())),
        limit=tuple(exact.tolist()),
        limit_error=float(error.square().mean().sqrt()),
        widths=config.widths,
        means=tuple(tuple(values.mean(0).tolist()) for values in by_width),
        mean_errors=tuple(tuple((v.var(0) / config.draws + error.square()).sqrt().tolist()) for v in by_width),
        gaps=tuple(gaps),
        # d√s = ds/(2√s).
        gap_errors=tuple(float(s.std()) / root / (2 * gap) for s, gap in zip(squares, gaps, strict=True)),
    )


def averages(results: dict[str, Convergence]) -> Table:
    """One row a scalar: its limit beside the mean at the last width."""
    table = Table("program", "average", "limit", "mean", "s.e. off", title="limits, and means at the last width")
    for name, result in results.items():
        for i, label in enumerate(result.labels):
            values = f"{result.limit[i]:.4f}", f"{result.means[-1][i]:.4f}", f"{result.z[-1, i]:.1f}"
            table.add_row(name if i == 0 else "", label, *values)
    return table


def slopes(results: dict[str, Convergence]) -> Table:
    """One row a demo: its gap, and slopes of gap and mean."""
    table = Table("program", "gap", "its slope", "of the mean")
    for name, result in results.items():
        gaps = f"{result.gaps[0]:.3g} … {result.gaps[-1]:.3g}"
        mean = _with_error(result.mean_slope) if result.mean_slope else "not seen"
        table.add_row(name, gaps, _with_error(result.slope), mean)
    return table


def _with_error(value: tuple[float, float]) -> str:
    """A number and its standard error."""
    return f"{value[0]:+.2f} ± {value[1]:.2f}"
