"""Loss and accuracy over the epochs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import FAINT, SOLID, Numbers, finish, look
from mupi.figures.style import percent


def plot_curves(runs: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw training and test loss and accuracy of some runs, one color a run.

    Args:
        runs: By its label what each run measured, a number an epoch: ``epoch``, ``train_loss``, ``train_accuracy``,
            ``test_loss`` and ``test_accuracy``; `mupi.training.columns` makes that of records. NaN is not drawn.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (label, run) in enumerate(runs.items()):
        loss.plot(run["epoch"], run["train_loss"], **look(i), **FAINT)
        loss.plot(run["epoch"], run["test_loss"], **look(i), **SOLID, label=label)
        accuracy.plot(run["epoch"], 100 * np.asarray(run["train_accuracy"]), **look(i), **FAINT)
        accuracy.plot(run["epoch"], 100 * np.asarray(run["test_accuracy"]), **look(i), **SOLID, label=label)
    finish(loss, "Loss", "cross-entropy", "test", "training")
    finish(accuracy, "Accuracy", "%", "test", "training")
    percent(accuracy)
    return figure
