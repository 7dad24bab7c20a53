"""Averages of Tensor Programs at finite width: their distance to the limit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Convergence:
    """A program's averages at several widths, and in the limit.

    Attributes:
        labels: Of each average; those of a table share one.
        limit: Of each average.
        limit_error: Root mean square of their standard errors.
        widths: The values of n.
        means: For each width the mean of each average over runs.
        gaps: For each width the root mean square over runs and averages of the distance to the limit.
        largest_z: At the largest width, the largest distance of a mean to the limit in standard errors.
    """

    labels: tuple[str, ...]
    limit: tuple[float, ...]
    limit_error: float
    widths: tuple[int, ...]
    means: tuple[tuple[float, ...], ...]
    gaps: tuple[float, ...]
    largest_z: float

    @property
    def slope(self) -> float:
        """The exponent of the gap by width, by least squares; −1/2 by the Master Theorem's central limit."""
        return float(np.polyfit(np.log(self.widths), np.log(self.gaps), 1)[0])


def plot_convergence(programs: Mapping[str, Convergence]) -> Figure:
    """Distance to the limit by width, a line a program, with a line of slope −1/2.

    Args:
        programs: By name.
    """
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    markers = "osv^D<>ph*XP8d"
    for i, (name, result) in enumerate(programs.items()):
        label = f"{name}: {result.slope:+.2f}"
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
