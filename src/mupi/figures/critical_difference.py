"""Mean ranks on a line, and which of them may be alike (Demšar 2006)."""

from collections.abc import Mapping
from typing import Any

from mupi.extras import require


def plot_critical_difference(ranks: Mapping[str, float], difference: float) -> Any:
    """A point for each method, the best on top, with the critical difference as a bar to its right.

    Two methods differ by more than chance if the bar of the better one ends before the point of the other.

    Args:
        ranks: The mean rank of each method.
        difference: The critical difference of two mean ranks.
    """
    require("matplotlib", "plot_critical_difference")
    from matplotlib.figure import Figure

    from mupi.figures.style import color, cut

    names = sorted(ranks, key=lambda name: -ranks[name])
    figure = Figure(figsize=(6.5, 0.42 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(names):
        axes.hlines(y, ranks[name], ranks[name] + difference, color="0.75", lw=4)
        axes.plot(ranks[name], y, "o", color=color(0))
        axes.annotate(f"{ranks[name]:.2f}", (ranks[name], y), (0, 6), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set_xlabel("mean rank; 1 is best. Bars: critical difference at 5 %")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_xlim()[0] > 1:
        cut(axes, "x")
    return figure
