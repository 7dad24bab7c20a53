"""Time and memory over the epochs."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mupi.figures.axes import FAINT, SOLID, Numbers, finish, look


def plot_cost(runs: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw the seconds of each epoch and the memory after it, of some runs, one color a run.

    Args:
        runs: By its label what each run measured, a number an epoch: ``epoch``, ``seconds``, ``stored_mb`` and
            ``peak_mb``.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for i, (label, run) in enumerate(runs.items()):
        time.plot(run["epoch"], run["seconds"], **look(i), **SOLID, label=label)
        memory.plot(run["epoch"], run["stored_mb"], **look(i), **SOLID, label=label)
        memory.plot(run["epoch"], run["peak_mb"], **look(i), **FAINT)
    finish(time, "Time of each epoch", "seconds of training")
    finish(memory, "Memory", "MB", "stored by the network", "growth of the process's peak")
    for axes in (time, memory):
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
    return figure
