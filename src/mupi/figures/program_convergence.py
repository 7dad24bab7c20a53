"""Averages of Tensor Programs at finite width: their distance to the limit."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.programs.limit_gaps import Convergence


def plot_convergence(programs: Mapping[str, Convergence]) -> Figure:
    """Distance to the limit by width, a line a program, with a line of slope −1/2.

    Args:
        programs: By name.
    """
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    markers = "osv^D<>ph*XP8d"
    for i, (name, result) in enumerate(programs.items()):
        label = f"{name}: {result.slope[0]:+.2f}"
        axes.loglog(result.widths, result.gaps, f"{markers[i % len(markers)]}-", markersize=4, linewidth=1, label=label)
    first = next(iter(programs.values()))
    n = np.array(first.widths, dtype=float)
    top = max(result.gaps[0] for result in programs.values())
    axes.loglog(n, 1.5 * top * (n / n[0]) ** -0.5, "--", color="0.4", label="slope −1/2")
    axes.set(title="Averages at width n: distance to the limit", xlabel="width n", ylabel="root mean square over runs")
    axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
