"""Networks and kernels side by side: accuracy, time and memory, and how each learned."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mupi.figures.axes import band, finish
from mupi.figures.style import color, cut, level, percent
from mupi.recipes.comparison.results import Summary


def plot_comparison(summaries: Sequence[Summary], title: str) -> Figure:
    """Bars of test accuracy with their standard deviations, of time and of memory."""
    figure = Figure(figsize=(11, 0.9 + 0.42 * len(summaries)), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    accuracy, seconds, memory = figure.subplots(1, 3, sharey=True)
    values = [100 * s.accuracy for s in summaries]
    spread = [100 * (s.deviation or 0.0) for s in summaries]
    _bars(accuracy, summaries, values, [f"{v:.2f}" for v in values], xerr=spread)
    low = min(v - e for v, e in zip(values, spread, strict=True))
    room = 0.3 * (max(values) - low) + 1.0
    accuracy.set(xlabel="test accuracy, % (the axis does not start at 0)", xlim=(low - room, max(values) + 2 * room))
    # The labels of bars want room, which is no part of the axis beyond 100 %.
    accuracy.set_xticks([tick for tick in accuracy.get_xticks() if low - room <= tick <= 100])
    cut(accuracy, "x")
    accuracy.spines["bottom"].set_bounds(low - room, min(100, max(values) + 2 * room))
    times = [s.seconds for s in summaries]
    _bars(seconds, summaries, times, [f"{t:,.{int(t < 10)}f}" for t in times])
    seconds.set(xlabel="seconds of training", xlim=(0, 1.2 * max(times)))
    peaks = [s.peak_mb for s in summaries]
    _bars(memory, summaries, peaks, [f"{p:,.0f}" for p in peaks])
    memory.set(xlabel="peak memory, MB", xlim=(0, 1.2 * max([1.0, *peaks])))  # tiny networks show no growth
    accuracy.set_yticks(range(len(summaries)), [s.model for s in summaries])
    accuracy.invert_yaxis()
    return figure


def plot_learning_curves(summaries: Sequence[Summary], title: str) -> Figure:
    """Test loss and accuracy over the epochs, mean over seeds and their range; kernels as lines across."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    loss, accuracy = figure.subplots(1, 2)
    for i, summary in enumerate(summaries):
        if not summary.results[0].epochs:
            accuracy.axhline(100 * summary.accuracy, **level(i), label=summary.model)
            continue
        x = [m.epoch for m in summary.results[0].epochs]
        losses = np.array([[m.test_loss for m in r.epochs] for r in summary.results])
        right = np.array([[100 * m.test_accuracy for m in r.epochs] for r in summary.results])
        for axes, values in ((loss, losses), (accuracy, right)):
            band(axes, x, values, i, summary.model)
    finish(loss, "Test loss", "cross-entropy")
    finish(accuracy, "Test accuracy", "%")
    percent(accuracy)
    for axes in (loss, accuracy):
        legend = axes.get_legend()
        assert legend is not None
        legend.remove()
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize="small")
    return figure


def _bars(axes: Axes, summaries: Sequence[Summary], values: list[float], labels: list[str], **errors: Any) -> None:
    colors = [color(i) for i in range(len(summaries))]
    bars = axes.barh(range(len(summaries)), values, color=colors, height=0.7, **errors)
    axes.bar_label(bars, labels, padding=4, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
