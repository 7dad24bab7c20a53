"""What features learned on one data set are worth on another, by epoch of the pretraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import band, finish
from mupi.figures.style import level, percent

PANEL_SIZE = 4.4


@dataclass(frozen=True)
class TransferCurves:
    """One model.

    Attributes:
        label: What the legend calls the run.
        epochs: Of the pretraining; 0 is the untrained network.
        panels: What is measured, for each epoch a number of each seed.
    """

    label: str
    epochs: Sequence[int]
    panels: Mapping[str, Sequence[Sequence[float]]]


def plot_transfer(models: Sequence[TransferCurves], baselines: Mapping[str, float], title: str) -> Figure:
    """One panel for each measure: means over seeds, bands from least to greatest seed; baselines as lines across.

    Args:
        models: With the same measures each.
        baselines: Accuracies, 0 to 1, drawn in the first panel.
        title: What was transferred to what.
    """
    names = list(models[0].panels)
    figure = Figure(figsize=(PANEL_SIZE * len(names), 4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for i, model in enumerate(models):
            values = np.array(model.panels[name])
            band(axes, model.epochs, values.T, i, model.label)
        if name == names[0]:
            for i, (label, accuracy) in enumerate(baselines.items()):
                axes.axhline(100 * accuracy, **level(i, drawn=len(models)), label=label)
        what, _, unit = name.partition(": ")
        finish(axes, what, unit)
        if "%" in unit:
            percent(axes)
        axes.set_xlabel("epoch of pretraining")
    return figure
