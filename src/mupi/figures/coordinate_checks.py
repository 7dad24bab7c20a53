"""Measured and predicted scaling with width, parametrizations side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mupi.figures.axes import plain
from mupi.figures.style import color, marker
from mupi.statistics import PowerLaw

ROWS = (("size at the start", ("|h|", "|f|")), ("change in training", ("|Δh|", "|Δf|")))


def plot_coordinate_checks(checks: Mapping[str, Sequence[PowerLaw]]) -> Figure:
    """One column a parametrization: sizes at the start above, their changes below, over width.

    Sizes are root mean squares; points are geometric means over seeds, with their range; dashed lines have the
    predicted slope, and go through the middle of the points.

    Args:
        checks: The measurements of each, by its name.
    """
    figure = Figure(figsize=(0.8 + 2.7 * len(checks), 5.4), layout="constrained")
    grid = figure.subplots(2, len(checks), sharex=True, sharey="row", squeeze=False)
    for column, (name, laws) in enumerate(checks.items()):
        for row, (what, quantities) in enumerate(ROWS):
            axes = grid[row][column]
            for i, law in enumerate(law for law in laws if law.quantity in quantities):
                _draw(axes, law, color="0.15" if law.quantity in ("|f|", "|Δf|") else color(i), marker=marker(i))
            axes.set(xscale="log", yscale="log")
            plain(axes, legend="x-small")
            if column == 0:
                axes.set_ylabel(what)
        grid[0][column].set_title(name, fontsize="medium")
        grid[1][column].set_xlabel("width n")
        widths = laws[0].widths
        grid[1][column].set_xticks(widths[::2], [str(n) for n in widths[::2]], minor=False)
        grid[1][column].minorticks_off()
    lines = [Line2D([], [], color="0.4", marker="o", linestyle=""), Line2D([], [], color="0.4", linestyle="--")]
    figure.legend(lines, ["measured", "predicted slope"], loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw(axes: Axes, law: PowerLaw, color: str, marker: str) -> None:
    middle = np.asarray(law.typical_sizes)
    label = f"{law.quantity} {law.part}" if law.part != "f" else law.quantity
    if np.isfinite(law.slope):
        label += f": {law.slope:+.2f}"
    axes.errorbar(law.widths, middle, law.spread, color=color, marker=marker, markersize=3.5, linestyle="", label=label)
    if law.predicted is not None and np.isfinite(middle).any():
        axes.plot(law.widths, law.line(law.predicted), color=color, linestyle="--", linewidth=1.2)
