"""Accuracy by the number of training rows, one panel a task."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mupi.figures.axes import look, plain
from mupi.figures.style import REFERENCE, percent
from mupi.recipes.sample_complexity.scores import Curve


def plot_curves(found: Mapping[str, Mapping[str, Curve]], chance: Mapping[str, float]) -> Figure:
    """A line through the means of each method, with bars of one standard deviation over seeds.

    Args:
        found: By title of the task and name of the method.
        chance: By title: the accuracy of guessing, 0 to 1.
    """
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    figure = Figure(figsize=(5 * columns, 3.1 * lines + 1.1), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    names = list(dict.fromkeys(name for methods in found.values() for name in methods))
    for axes, (title, methods) in zip(panels, found.items(), strict=False):
        for name, curve in methods.items():
            # The one that the figure is about is on top.
            i = names.index(name)
            axes.errorbar(
                [p.rows for p in curve], [100 * p.mean for p in curve], [100 * (p.deviation or 0) for p in curve],
                **look(i) | dict(markersize=5), capsize=2, label=name, zorder=3 if name == "π-limit" else 2,
            )  # fmt: skip
        axes.axhline(100 * chance[title], **REFERENCE, label="guessing")
        rows = sorted({p.rows for curve in methods.values() for p in curve})
        axes.set_xscale("log")
        axes.set_xticks(rows, [f"{n:,}" for n in rows])
        axes.minorticks_off()
        axes.set(title=title, xlabel="training rows", ylabel="test accuracy, %")
        plain(axes, legend=None)
        axes.set_ylim(bottom=100 * chance[title] - 5)
        percent(axes)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure
