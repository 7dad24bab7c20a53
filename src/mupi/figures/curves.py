"""Loss and accuracy over the epochs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mupi.figures.axes import FAINT, SOLID, color, finish
from mupi.training.epoch_metrics import EpochMetrics


def plot_curves(runs: Mapping[str, Sequence[EpochMetrics]]) -> Figure:
    """Draw training and test loss and accuracy of some runs, one color a run.

    Args:
        runs: Label and epochs of each run.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (label, epochs) in enumerate(runs.items()):
        x = [m.epoch for m in epochs]
        loss.plot(x, [m.train_loss for m in epochs], **color(i), **FAINT)
        loss.plot(x, [m.test_loss for m in epochs], **color(i), **SOLID, label=label)
        accuracy.plot(x, [100 * m.train_accuracy for m in epochs], **color(i), **FAINT)
        accuracy.plot(x, [100 * m.test_accuracy for m in epochs], **color(i), **SOLID, label=label)
    finish(loss, "Loss", "cross-entropy", "test", "training")
    finish(accuracy, "Accuracy", "%", "test", "training")
    return figure
