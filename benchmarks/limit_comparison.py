"""Networks of growing width beside the limit of their training: what is kept, compared and drawn.

What is trained is kept in a folder, a file for each network and each pair of replicates of the limit; the same command
goes on from there after Ctrl-C. Of each step: the root mean square over networks and outputs of f_n − f_∞, less the
limit's own error, and its power of n, which is −½ if this is the limit of those; the same power of f_n − its mean over
networks ("its own"), which the limit has no part in; and how far the mean over the widest
networks is from the limit, in standard errors of the difference.
"""

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mupi.figures.axes import plain
from mupi.figures.style import REFERENCE, color, marker, shade
from mupi.mu import MuLimit
from mupi.progress import counted
from mupi.statistics import PowerLaw
from mupi.training.atomic import write_figure
from mupi.training.cached import cached

ADVICE = "choose another --out"


@dataclass(frozen=True)
class Sizes:
    """How much is trained.

    Attributes:
        widths: Of the networks.
        seeds: Networks of each width.
        samples: Samples of the limit, in each replicate.
        pairs: Pairs of replicates.
        tolerance: Relative size below which the limit does not follow a direction.
        coarse: A larger one, of which as many pairs show what truncation does; 0 for none.
        out: Where what is trained is kept.
        figure: Where the figure goes; None for --out.
        threads: Threads of torch.
        copies: Of the samples, how many entries of Adam's updates are averaged over; None for all.
    """

    widths: tuple[int, ...]
    seeds: int
    samples: int
    pairs: int
    tolerance: float
    coarse: float
    out: Path
    figure: Path | None
    threads: int
    copies: int | None = None


@dataclass(frozen=True)
class Trained:
    """What was trained.

    Attributes:
        nets: Outputs (seeds, steps, outputs) by width.
        limits: Outputs (replicates, steps, outputs) by tolerance.
        costs: By name, of each run: seconds of processor time, of the clock, and the process's peak memory in GB.
        ranks: By tolerance, directions that hidden matrices met, forwards and backwards: (steps, matrices, 2).
    """

    nets: dict[int, Tensor]
    limits: dict[float, Tensor]
    costs: dict[str, Tensor]
    ranks: dict[float, Tensor]


Told = Callable[[str], None]


def trained(
    sizes: Sizes,
    settings: Mapping[str, Any],
    steps: int,
    network: Callable[[int, int], Tensor],
    limit: Callable[[float, int], MuLimit],
    step: Callable[[MuLimit, int], Tensor],
    console: Console,
) -> Trained:
    """What is kept, and what is missing.

    Args:
        sizes: How much.
        settings: All else that decides what networks and limits are.
        steps: Of training.
        network: From width and seed to outputs (steps, outputs) before each step.
        limit: From tolerance and seed to two replicates, not yet trained.
        step: Takes a step of these; returns their outputs (2, outputs) before it.
        console: Where progress is shown.
    """
    nets: dict[int, list[Tensor]] = {n: [] for n in sizes.widths}
    limits: dict[float, list[Tensor]] = {tol: [] for tol in (sizes.tolerance, sizes.coarse) if tol}
    costs: dict[str, list[Tensor]] = {}
    ranks: dict[float, Tensor] = {}

    def pair_of(tol: float, seed: int, told: Told) -> dict[str, Tensor]:
        at, outputs, met = limit(tol, seed), [], []
        for t in range(steps):
            told(f"limit, pair {seed + 1}, step {t + 1}")
            outputs.append(step(at, t).double())
            met.append(torch.tensor(at.ranks))
        return {"f": torch.stack(outputs, 1), "ranks": torch.stack(met)}

    with counted(len(limits) * sizes.pairs * steps + len(nets) * sizes.seeds, console) as begin:
        for tol, group in limits.items():
            for seed in range(sizes.pairs):
                path = sizes.out / f"limit-{tol:g}-{seed}.pt"
                for _ in range(steps if path.exists() else 0):
                    begin("kept")
                kept = {**settings, "samples": sizes.samples, "tolerance": tol, "pair": seed}
                kept |= {} if sizes.copies is None else {"copies": sizes.copies}
                found = kept_or(path, kept, lambda tol=tol, seed=seed: pair_of(tol, seed, begin))
                group.append(found["f"])
                ranks[tol] = found["ranks"]
                costs.setdefault(f"limit, tolerance {tol:g}", []).append(found["cost"])
        for n, group in nets.items():
            for seed in range(sizes.seeds):
                begin(f"n = {n:,}, network {seed + 1}")
                kept = {**settings, "width": n, "seed": seed}
                path = sizes.out / f"width-{n}-{seed}.pt"
                found = kept_or(path, kept, lambda n=n, seed=seed: {"f": network(n, seed)})
                group.append(found["f"])
                costs.setdefault(f"n = {n:,}", []).append(found["cost"])
    return Trained(
        {n: torch.stack(group) for n, group in nets.items()},
        {tol: torch.cat(group) for tol, group in limits.items()},
        {name: torch.stack(rows) for name, rows in costs.items()},
        ranks,
    )


def kept_or(path: Path, settings: Mapping[str, Any], compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A result and its cost, from its file if there is one."""

    def measured() -> dict[str, Tensor]:
        cpu, clock = time.process_time(), time.perf_counter()
        found = compute()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        return found | {"cost": torch.tensor([time.process_time() - cpu, time.perf_counter() - clock, peak])}

    return cached(path, settings, measured, dict, advice=ADVICE)


@dataclass(frozen=True)
class Comparison:
    """Networks beside the limit.

    Attributes:
        gaps: By width, in squares, of each network at each step, less the limit's error: (seeds, steps).
        spreads: The same of f_n − its mean over networks of that width, which the limit has no part in.
        error: Standard error of the limit by step, root mean square over outputs.
        deviations: (mean of the widest − limit)/standard error of the difference: (steps, outputs).
        size: Of the limit's outputs by step.
    """

    gaps: dict[int, Tensor]
    spreads: dict[int, Tensor]
    error: Tensor
    deviations: Tensor
    size: Tensor

    @staticmethod
    def of(nets: Mapping[int, Tensor], replicates: Tensor) -> "Comparison":
        """From outputs (seeds, steps, outputs)."""
        exact, variance = replicates.mean(0), replicates.var(0) / len(replicates)
        error = variance.mean(1)
        gaps = {n: ((f - exact).square().mean(2) - error).clamp_min(1e-30) for n, f in nets.items()}
        spreads = {n: (f - f.mean(0)).square().mean(2) * len(f) / max(1, len(f) - 1) for n, f in nets.items()}
        widest = nets[max(nets)]
        # The same for all outputs of a step: of a few networks each for itself it would be known badly.
        spread = (widest.var(0) / len(widest) + variance).mean(1, keepdim=True).sqrt()
        return Comparison(gaps, spreads, error.sqrt(), (widest.mean(0) - exact) / spread, exact.square().mean(1).sqrt())

    def gap(self, n: int, steps: slice) -> float:
        """Root mean square over networks and some steps."""
        return float(self.gaps[n][:, steps].mean().sqrt())

    def law(self, steps: slice, spread: bool = False) -> PowerLaw:
        """Of root mean squares over some steps, one for each network: of gaps, or of spreads."""
        squares = self.spreads if spread else self.gaps
        sizes = tuple(tuple(of_width[:, steps].mean(1).sqrt().tolist()) for of_width in squares.values())
        return PowerLaw("|f − f_∞|", "output", tuple(squares), sizes)


def report(sizes: Sizes, title: str, marks: list[int], losses: Callable[[Tensor], Tensor], found: Trained) -> None:
    """Print tables and draw the figure.

    Args:
        sizes: How much was trained.
        title: What.
        marks: Steps to show.
        losses: From outputs (…, steps, outputs) to losses (…, steps).
        found: What was trained.
    """
    console, replicates = Console(), found.limits[sizes.tolerance]
    compared, steps = Comparison.of(found.nets, replicates), replicates.shape[1]
    what = f"{title}: limit of {len(replicates)} × {sizes.samples:,} samples, tolerance {sizes.tolerance:g}"
    widths = (f"n = {n:,}" for n in found.nets)
    table = Table("step", "f_∞", *widths, "power of n", "its own", "error of f_∞", "z, rms", "|z| < 3", title=what)
    rows = [(str(t), slice(t, t + 1)) for t in dict.fromkeys([*marks, steps - 1]) if t < steps]
    for name, part in [*rows, (f"1 to {steps - 1}", slice(1, None))]:
        law, own, z = compared.law(part), compared.law(part, spread=True), compared.deviations[part]
        table.add_row(
            name,
            f"{compared.size[part].mean():.3f}",
            *(f"{compared.gap(n, part):.4f}" for n in found.nets),
            f"{law.slope:+.3f} ± {law.half_width:.3f}",
            f"{own.slope:+.3f} ± {own.half_width:.3f}",
            f"{compared.error[part].square().mean().sqrt():.4f}",
            f"{z.square().mean().sqrt():.2f}",
            f"{(z.abs() < 3).double().mean():.1%}",
        )
    console.print(table)
    for name, cost in found.costs.items():
        cpu, clock, memory = float(cost[:, 0].sum()), float(cost[:, 1].sum()), float(cost[:, 2].max())
        console.print(f"{name}: {len(cost)} runs, {cpu:.0f} s of processor, {clock:.0f} s, peak {memory:.2f} GB")
    for tol, met in found.ranks.items():
        console.print(f"K at tolerance {tol:g}, forwards and backwards, after {len(met)} steps: {met[-1].tolist()}")
    if sizes.coarse:
        console.print(truncation(sizes, found))
    draw(sizes, title, marks, losses, found, compared)


def truncation(sizes: Sizes, found: Trained) -> str:
    """What a larger tolerance does to f, and what this one does if its error is as a power of it from 1 to 2."""
    one, other = found.limits[sizes.tolerance], found.limits[sizes.coarse]
    noise = one.var(0) / len(one) + other.var(0) / len(other)
    size = max(float(((other.mean(0) - one.mean(0)).square() - noise)[1:].mean()), 0.0) ** 0.5
    more, less = (size / ((sizes.coarse / sizes.tolerance) ** power - 1) for power in (1, 2))
    return (
        f"tolerance {sizes.coarse:g} moves f by {size:.4f} (root mean square) from where {sizes.tolerance:g} has it; "
        f"{sizes.tolerance:g}, if its error is as a power of it from 2 to 1, by {less:.4f} to {more:.4f}; the "
        f"difference has a sampling error of {float(noise[1:].mean()) ** 0.5:.4f}"
    )


def draw(
    sizes: Sizes,
    title: str,
    marks: list[int],
    losses: Callable[[Tensor], Tensor],
    found: Trained,
    compared: Comparison,
) -> None:
    """Losses by step, gaps by width, and their power of n by step."""
    fig = Figure(figsize=(12, 3.6), layout="constrained")
    loss, gap, power = fig.subplots(1, 3)
    widths = list(found.nets)
    for i, (n, f) in enumerate(found.nets.items()):
        curve = losses(f).mean(0)
        look = dict(color=shade(i, len(widths)), marker=marker(i), ms=4, markevery=(i, max(1, len(curve) // 6)))
        loss.plot(curve, lw=1, label=f"n = {n:,}", **look)
    loss.plot(losses(found.limits[sizes.tolerance].mean(0)), "k--", lw=1.2, label="limit")
    loss.set(yscale="log", xlabel="step", ylabel="loss", title=title)
    plain(loss, legend="x-small")
    for i, t in enumerate(marks):
        at = [compared.gap(n, slice(t, t + 1)) for n in widths]
        gap.plot(widths, at, marker=marker(i), ms=4, lw=1, color=shade(i, len(marks)), label=f"step {t}")
    top = 1.4 * max(compared.gap(widths[0], slice(t, t + 1)) for t in marks)
    gap.plot(widths, [top * (n / widths[0]) ** -0.5 for n in widths], **REFERENCE, label="n^−½")
    gap.set(xscale="log", yscale="log", xlabel="width n", ylabel="root mean square of f − limit")
    gap.set_xticks(widths, [f"{n:,}" for n in widths], fontsize=7)
    gap.minorticks_off()
    plain(gap, legend=None)
    gap.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    steps = range(1, found.limits[sizes.tolerance].shape[1])
    laws = [compared.law(slice(t, t + 1)) for t in steps]
    slopes, halves = torch.tensor([law.slope for law in laws]), torch.tensor([law.half_width for law in laws])
    power.fill_between(steps, slopes - halves, slopes + halves, color=color(0), alpha=0.25, lw=0)
    power.plot(steps, slopes, lw=1.4, color=color(0), label="f_n − limit; band: 95 %")
    own = [compared.law(slice(t, t + 1), spread=True).slope for t in steps]
    power.plot(steps, own, lw=1, color=color(1), linestyle="-.", label="f_n − mean over networks")
    power.axhline(-0.5, **REFERENCE, label="−½")
    power.set(xlabel="step", ylabel="power of n", ylim=(-1, 0.25))
    plain(power, legend=None)
    power.legend(frameon=False, fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    path = sizes.figure or sizes.out / "limit.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, path.with_suffix(".svg")):
        write_figure(file, fig)
