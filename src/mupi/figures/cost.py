"""Time and memory over the epochs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mupi.figures.axes import FAINT, SOLID, color, finish
from mupi.training.epoch_metrics import EpochMetrics


def plot_cost(runs: Mapping[str, Sequence[EpochMetrics]]) -> Figure:
    """Draw the seconds of each epoch and the memory after it, of some runs, one color a run.

    Args:
        runs: Label and epochs of each run.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for i, (label, epochs) in enumerate(runs.items()):
        x = [m.epoch for m in epochs]
        time.plot(x, [m.seconds for m in epochs], **color(i), **SOLID, label=label)
        memory.plot(x, [m.stored_mb for m in epochs], **color(i), **SOLID, label=label)
        memory.plot(x, [m.peak_mb for m in epochs], **color(i), **FAINT)
    finish(time, "Time of each epoch", "seconds of training")
    finish(memory, "Memory", "MB", "stored by the network", "growth of the process's peak")
    for axes in (time, memory):
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
    return figure
