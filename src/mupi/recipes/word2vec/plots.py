"""Accuracy on word analogies by epoch: the figure of Yang & Hu (2021) for Word2Vec."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import finish
from mupi.recipes.word2vec.metrics import Word2VecMetrics


def plot_analogies(runs: Mapping[str, Sequence[Sequence[Word2VecMetrics]]]) -> Figure:
    """Draw accuracy by epoch, one line a width: the mean over seeds, and a band from the lowest to the highest.

    Args:
        runs: For each label, the epochs of each seed; epochs that all seeds have are drawn, where there are analogies.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, (label, seeds) in enumerate(runs.items()):
        epochs = min(len(seed) for seed in seeds)
        x = [m.epoch for m in seeds[0][:epochs]]
        accuracy = 100 * np.array(
            [[np.nan if m.accuracy is None else m.accuracy for m in seed[:epochs]] for seed in seeds]
        )
        if np.isnan(accuracy).all():
            axes.plot([], [], label=f"{label}: no analogy's words are known")
            continue
        axes.plot(x, accuracy.mean(0), color=f"C{i}", marker="o", markersize=3, linewidth=1.4, label=label)
        axes.fill_between(x, accuracy.min(0), accuracy.max(0), color=f"C{i}", alpha=0.2, linewidth=0)
    finish(axes, "Word analogies", "% answered right")
    return figure
