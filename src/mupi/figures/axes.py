"""What all axes have in common."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

SOLID: dict[str, Any] = dict(linestyle="-")
FAINT: dict[str, Any] = dict(linestyle="--", alpha=0.55)


def color(run: int) -> dict[str, Any]:
    """How the lines of a run look."""
    return dict(color=f"C{run}", marker="o", markersize=3, linewidth=1.4)


def finish(axes: Axes, title: str, ylabel: str, solid: str = "", faint: str = "") -> None:
    """Epochs on the x-axis, in whole numbers; a legend of the runs' colors and of the two line styles.

    Args:
        axes: With all lines drawn, those in the legend labelled.
        title: What is shown.
        ylabel: In which unit.
        solid: What solid lines mean, if there are others.
        faint: What faint lines mean, if there are any.
    """
    axes.set(title=title, xlabel="epoch", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    handles, _ = axes.get_legend_handles_labels()
    if faint:
        gray: dict[str, Any] = dict(color="0.4", linewidth=1.4)
        handles += [Line2D([], [], **gray, **SOLID, label=solid), Line2D([], [], **gray, **FAINT, label=faint)]
    axes.legend(handles=handles, frameon=False, fontsize="small")
