"""Averages of Tensor Programs at finite width: their distance to the limit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

SEEN = 5.0
"""Standard errors that a mean must be off the limit by, at the smallest width, for its approach to have a slope."""


@dataclass(frozen=True)
class Convergence:
    """A program's averages at several widths, and in the limit.

    Attributes:
        labels: Of each average; those of a table share one.
        limit: Of each average.
        limit_error: Root mean square of their standard errors.
        widths: The values of n.
        means: For each width the mean of each average over runs.
        mean_errors: Their standard errors, which have the limit's in them.
        gaps: For each width the root mean square over runs and averages of the distance to the limit.
        gap_errors: Their standard errors.
    """

    labels: tuple[str, ...]
    limit: tuple[float, ...]
    limit_error: float
    widths: tuple[int, ...]
    means: tuple[tuple[float, ...], ...]
    mean_errors: tuple[tuple[float, ...], ...]
    gaps: tuple[float, ...]
    gap_errors: tuple[float, ...]

    @property
    def slope(self) -> tuple[float, float]:
        """The exponent of the gap by width, by least squares, and its standard error.

        −1/2 where averages fluctuate by 1/√n, as those of n independent coordinates would.
        """
        x = np.log(self.widths) - np.log(self.widths).mean()
        relative = np.divide(self.gap_errors, self.gaps)
        return float(x @ np.log(self.gaps) / (x @ x)), float(np.linalg.norm(x * relative) / (x @ x))

    @property
    def z(self) -> np.ndarray:
        """For each width and average, the distance of its mean to the limit in standard errors."""
        return np.abs(np.subtract(self.means, self.limit)) / np.maximum(self.mean_errors, 1e-12)

    @property
    def mean_slope(self) -> tuple[float, float] | None:
        """The exponent of the distance between mean and limit, and its standard error; −1 for a bias of c/n + O(1/n²).

        Of the average that is farthest off at the smallest width, widths weighted by their precision; None where that
        is not clearly off the limit: either it has no bias at any width, or more runs are needed to see it.
        """
        average = int(self.z[0].argmax())
        z = self.z[:, average]
        if z[0] < SEEN:
            return None
        distances = np.abs(np.array(self.means)[:, average] - self.limit[average])
        x = np.log(self.widths) - np.average(np.log(self.widths), weights=z**2)
        precision = float(z**2 @ x**2)
        return float((z**2 * x) @ np.log(distances) / precision), precision**-0.5


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
