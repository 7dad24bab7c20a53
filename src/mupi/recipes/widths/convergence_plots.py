"""Networks of growing width on their way to a limit: their losses, and the rate at which they get there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mupi.figures.axes import plain
from mupi.figures.style import REFERENCE, color, marker, shade
from mupi.recipes.widths.width_sweep import PREDICTED, WidthSweep


def plot_losses(sweeps: Sequence[WidthSweep]) -> Figure:
    """One panel a kind: the loss over the steps, mean over seeds, one curve a width and the limit in black."""
    figure = Figure(figsize=(0.8 + 3.1 * len(sweeps), 3.6), layout="constrained")
    panels = figure.subplots(1, len(sweeps), squeeze=False)[0]
    for axes, sweep in zip(panels, sweeps, strict=True):
        steps = range(1, len(sweep.losses[0][0]) + 1)
        for i, (width, seeds) in enumerate(zip(sweep.widths, sweep.losses, strict=True)):
            look: dict[str, Any] = dict(
                color=shade(i, len(sweep.widths)), marker=marker(i), markersize=3, linewidth=1.2
            )
            axes.plot(steps, np.mean(seeds, 0), **look, label=f"n = {width:,}")
        if sweep.limit is not None:
            axes.plot(steps, sweep.limit, color="black", linestyle="--", linewidth=1.4, label="limit")
        axes.set(title=sweep.name, xlabel="step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axes, legend="xx-small")
    panels[0].set_ylabel("training loss")
    return figure


def plot_gaps(sweeps: Sequence[WidthSweep]) -> Figure:
    """On the left the distance from the limit over width, over all steps; on the right the slope at every step.

    Points are geometric means over seeds with their range; dashed lines have slope −½; bands are 95 % confidence
    intervals.
    """
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    sizes, slopes = figure.subplots(1, 2)
    for i, sweep in enumerate(sweeps):
        law, hue, sign = sweep.overall, color(i), marker(i)
        label = f"{sweep.name}: {law.slope:+.3f} ± {law.half_width:.3f}"
        sizes.errorbar(
            law.widths, law.typical_sizes, law.spread, color=hue, marker=sign, markersize=4, linestyle="", label=label
        )
        sizes.plot(law.widths, law.line(PREDICTED), color=hue, linestyle="--", linewidth=1.2)
        steps = np.arange(len(sweep.laws))
        found = np.array([at.slope for at in sweep.laws])
        half = np.array([at.half_width for at in sweep.laws])
        slopes.plot(steps, found, color=hue, marker=sign, markersize=3, linewidth=1.2, label=sweep.name)
        slopes.fill_between(steps, found - half, found + half, color=hue, alpha=0.12, linewidth=0)
    sizes.set(yscale="log", xlabel="width n", ylabel="|f − f∞|, root mean square over steps and images")
    sizes.set_xscale("log", base=2)
    sizes.set_title("Distance from the limit, fitted slope", fontsize="medium")
    slopes.axhline(PREDICTED, **REFERENCE)
    slopes.xaxis.set_major_locator(MaxNLocator(integer=True))
    slopes.set(xlabel="step", ylabel="fitted slope", ylim=(-1, 0))
    slopes.set_title("Slope at every step", fontsize="medium")
    for axes in (sizes, slopes):
        plain(axes)
    return figure
