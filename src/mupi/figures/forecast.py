"""Loss curves of narrow networks, and what they say of a wide one's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mupi.figures.axes import plain
from mupi.figures.style import ACCENT, marker, shade


@dataclass(frozen=True)
class ForecastCurves:
    """One panel.

    Attributes:
        steps: The steps in the middle of each stretch.
        widths: Of the narrow networks.
        losses: Of these, (widths, seeds, times).
        wide: What the band is of.
        mean: The forecast.
        half_width: Half of its band.
        runs: Curves of the wide network, if it was trained: (seeds, times).
    """

    steps: np.ndarray
    widths: Sequence[int]
    losses: np.ndarray
    wide: str
    mean: np.ndarray
    half_width: np.ndarray
    runs: np.ndarray | None = None


def plot_forecasts(panels: Mapping[str, ForecastCurves], columns: int = 4) -> Figure:
    """One panel a task: means of narrow networks, from light to dark, the forecast's band, and wide runs in black.

    Args:
        panels: By their titles.
        columns: Panels in a row.
    """
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(1 + 3.6 * across, 0.4 + 3.2 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for i, (title, panel) in enumerate(panels.items()):
        _draw(grid[i // across][i % across], title, panel)
    for row in grid:
        row[0].set_ylabel("training loss")
    return figure


def _draw(axes: Axes, title: str, panel: ForecastCurves) -> None:
    for i, width in enumerate(panel.widths):
        look: dict[str, Any] = dict(color=shade(i, len(panel.widths)), marker=marker(i), markersize=3, linewidth=1.2)
        axes.plot(panel.steps, panel.losses[i].mean(0), **look, label=f"{width}")
    low, high = panel.mean - panel.half_width, panel.mean + panel.half_width
    axes.fill_between(panel.steps, low, high, color=ACCENT, alpha=0.25, linewidth=0, label=f"{panel.wide}, forecast")
    axes.plot(panel.steps, panel.mean, color=ACCENT, linewidth=1)
    for k, run in enumerate([] if panel.runs is None else panel.runs):
        label = f"{panel.wide}, trained" if k == 0 else None
        axes.plot(panel.steps, run, color="black", linewidth=0.7, label=label)
    axes.set(xlabel="step")
    axes.set_title(title, fontsize="medium")
    plain(axes, legend="x-small")
