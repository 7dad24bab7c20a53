"""What the truncation of the kernel costs in accuracy, and saves."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mupi.figures.axes import plain
from mupi.figures.style import color, marker, percent
from mupi.recipes.comparison.results import Summary


def plot_truncation(summaries: Mapping[str, Summary], features: Mapping[str, int]) -> Figure:
    """Test accuracy against the largest error of a layer's output and gradient, the features, and the seconds.

    Args:
        summaries: By label, of runs that differ in what is kept of the kernel.
        features: How many features a layer has, by the same labels.
    """
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    error, size, seconds = figure.subplots(1, 3, sharey=True)
    for i, (label, summary) in enumerate(summaries.items()):
        accuracy, look = 100 * summary.accuracy, dict(color=color(i), marker=marker(i), markersize=7, linestyle="none")
        outputs, gradients = zip(*summary.layer_errors().values(), strict=True)
        error.plot(max(outputs), accuracy, **look, label=label)
        error.plot(max(gradients), accuracy, **look, fillstyle="none")
        size.plot(features[label], accuracy, **look)
        seconds.plot(summary.seconds, accuracy, **look)
    percent(error)
    error.set(xscale="log", xlabel="largest error of a layer (hollow: of its gradient)", ylabel="test accuracy, %")
    size.set(xscale="log", xlabel="features of a layer")
    seconds.set(xscale="log", xlabel="seconds of training")
    for axes in (error, size, seconds):
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain(axes, legend=None)
    figure.legend(loc="outside upper center", ncols=len(summaries), frameon=False, fontsize="small")
    return figure
