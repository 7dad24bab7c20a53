"""What all axes have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mupi.figures.style import color, marker

Numbers = Sequence[float] | Sequence[int] | np.ndarray | Tensor
"""One number for each point."""

SOLID: dict[str, Any] = dict(linestyle="-")
FAINT: dict[str, Any] = dict(linestyle="--", alpha=0.55)


def look(run: int) -> dict[str, Any]:
    """How the lines of a run look."""
    return dict(color=color(run), marker=marker(run), markersize=3.5, linewidth=1.4)


def plain(axes: Axes, legend: str | None = "small") -> None:
    """A faint grid, no box, and a legend of what is labelled.

    Args:
        axes: The axes, with all lines drawn.
        legend: Its size; None for none.
    """
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if legend is not None:
        axes.legend(frameon=False, fontsize=legend)


def band(axes: Axes, x: Numbers, values: np.ndarray, run: int, label: str) -> None:
    """A line through the means over seeds, and a band from the least to the greatest of them.

    Args:
        axes: Where to draw.
        x: One number for each point.
        values: (seeds, points).
        run: Number of the run, which decides the `look`.
        label: What the legend calls it.
    """
    axes.plot(x, values.mean(0), **look(run), label=label)
    axes.fill_between(x, values.min(0), values.max(0), color=color(run), alpha=0.15, linewidth=0)


def finish(axes: Axes, title: str, ylabel: str, solid: str = "", faint: str = "") -> None:
    """Epochs on the x-axis, in whole numbers; a legend of the runs' colors and of the two line styles.

    Args:
        axes: With all lines drawn, those in the legend labelled.
        title: What is shown.
        ylabel: What the y axis counts, with its unit.
        solid: What solid lines mean, if there are others.
        faint: What faint lines mean, if there are any.
    """
    axes.set(title=title, xlabel="epoch", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes, legend=None)
    handles, _ = axes.get_legend_handles_labels()
    if faint:
        gray: dict[str, Any] = dict(color="0.4", linewidth=1.4)
        handles += [Line2D([], [], **gray, **SOLID, label=solid), Line2D([], [], **gray, **FAINT, label=faint)]
    axes.legend(handles=handles, frameon=False, fontsize="small")
