"""Loss over learning rate at several widths: is the best rate of a narrow network that of a wide one?"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mupi.figures.axes import plain
from mupi.figures.style import marker, shade

SHOWN = 4.0
"""Losses above so many times the least one are beyond the top."""


def plot_rate_sweeps(
    sweeps: Mapping[str, tuple[Sequence[int], Sequence[float], np.ndarray, Sequence[float]]], columns: int = 4
) -> Figure:
    """One panel a sweep; one curve a width, from light to dark, with its best rate marked.

    Lines are geometric means over seeds, bands go from the least to the greatest. A dashed line is the narrowest
    width's best rate, a triangle at the top a rate at which some run diverges.

    Args:
        sweeps: By the panel's title: widths, rates, losses (widths, rates, seeds) and the best rate of each width.
        columns: Panels in a row.
    """
    across = min(columns, len(sweeps))
    down = -(-len(sweeps) // across)
    figure = Figure(figsize=(1 + 3.8 * across, 0.4 + 3.4 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.ravel()[len(sweeps) :]:
        axes.set_visible(False)
    for i, (title, sweep) in enumerate(sweeps.items()):
        _draw(grid[i // across][i % across], title, *sweep)
    for row in grid:
        row[0].set_ylabel("loss")
    return figure


def _draw(
    axes: Axes,
    title: str,
    widths: Sequence[int],
    rates: Sequence[float],
    losses: np.ndarray,
    best_rates: Sequence[float],
) -> None:
    finite = np.asarray(np.isfinite(losses).all(-1))
    least = np.min(losses[np.isfinite(losses)], initial=np.inf)
    for i, width in enumerate(widths):
        color, sign = shade(i, len(widths)), marker(i)
        x, at = np.asarray(rates)[finite[i]], losses[i][finite[i]]
        mean = np.exp(np.log(at).mean(-1))
        axes.plot(x, mean, f"{sign}-", color=color, markersize=3, linewidth=1.4, label=f"{width}")
        axes.fill_between(x, at.min(-1), at.max(-1), color=color, alpha=0.15, linewidth=0)
        diverged = np.asarray(rates)[~finite[i]]
        if len(diverged):
            top = np.full(len(diverged), 0.98 - 0.03 * i)
            axes.plot(diverged, top, "v", color=color, markersize=4, transform=axes.get_xaxis_transform())
        if np.isfinite(best_rates[i]):
            axes.plot(best_rates[i], mean.min(), "*", color=color, markersize=12, markeredgecolor="black", zorder=4)
    if np.isfinite(best_rates[0]):
        axes.axvline(best_rates[0], color="0.4", linestyle="--", linewidth=1)
    axes.set(xlabel="learning rate")
    if np.isfinite(least):
        top = min(SHOWN * least, 1.1 * float(np.max(losses[np.isfinite(losses)])))
        axes.set_ylim(least - 0.05 * (top - least), top)
    axes.set_xscale("log", base=2)
    axes.set_title(title, fontsize="medium")
    plain(axes, legend=None)
    axes.legend(title="width", frameon=False, fontsize="x-small", title_fontsize="x-small")
