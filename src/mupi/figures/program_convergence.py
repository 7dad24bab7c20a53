"""Averages of Tensor Programs at finite width: their distance to the limit."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import Numbers, plain
from mupi.figures.style import REFERENCE, color, marker
from mupi.statistics import exponent


def plot_convergence(gaps: Mapping[str, tuple[Numbers, Numbers]]) -> Figure:
    """Distance to the limit by width, a line a program, with a line of slope −1/2.

    Args:
        gaps: Widths and distances, by the program's name.
    """
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    for i, (name, (widths, sizes)) in enumerate(gaps.items()):
        label = f"{name}: {exponent(widths, sizes)[0]:+.2f}"
        axes.loglog(widths, sizes, color=color(i), marker=marker(i), markersize=4, linewidth=1, label=label)
    n = np.array(next(iter(gaps.values()))[0], dtype=float)
    top = max(float(sizes[0]) for _, sizes in gaps.values())
    axes.loglog(n, 1.5 * top * (n / n[0]) ** -0.5, **REFERENCE, label="slope −1/2")
    axes.set(title="Averages at width n: distance to the limit", xlabel="width n", ylabel="root mean square over runs")
    plain(axes, legend=None)
    axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
