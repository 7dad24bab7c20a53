"""Accuracy on word analogies by epoch: the figure of Yang & Hu (2021) for Word2Vec."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import Numbers, band, finish
from mupi.figures.style import percent


def plot_analogies(runs: Mapping[str, tuple[Numbers, np.ndarray]]) -> Figure:
    """Draw accuracy by epoch, one line a width: the mean over seeds, and a band from the lowest to the highest.

    Args:
        runs: For each label, epochs, and accuracies (seeds, epochs), 0 to 1; NaN where no analogy's words are known.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, (label, (epochs, accuracies)) in enumerate(runs.items()):
        if np.isnan(accuracies).all():
            axes.plot([], [], label=f"{label}: no analogy's words are known")
        else:
            band(axes, epochs, 100 * accuracies, i, label)
    finish(axes, "Word analogies", "% answered right")
    percent(axes)
    return figure
