"""Loss, and accuracy or R², over the epochs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.checks import fail
from mupi.figures.axes import FAINT, SOLID, Numbers, finish, look
from mupi.figures.style import percent


def plot_curves(runs: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw training and test loss of some runs, and their accuracy or R², one color a run.

    Args:
        runs: By its label what each run measured, a number an epoch: ``epoch``, ``train_loss``, ``test_loss``, and
            ``train_accuracy`` and ``test_accuracy``, or ``train_r2`` and ``test_r2``; `mupi.training.columns` makes
            that of records. NaN is not drawn.

    Raises:
        ValueError: If some runs have learned classes and others numbers, whose losses are no neighbors.
    """
    r2 = {label for label, run in runs.items() if "test_r2" in run}
    if r2 and len(r2) < len(runs):
        (other, *_), (one, *_) = sorted(runs.keys() - r2), sorted(r2)
        fail("plot_curves(runs=...)", "all of classes, or all of numbers", f"{other} of classes, {one} of numbers")
    name, factor = ("r2", 1) if r2 else ("accuracy", 100)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, right = figure.subplots(1, 2)
    for i, (label, run) in enumerate(runs.items()):
        loss.plot(run["epoch"], run["train_loss"], **look(i), **FAINT)
        loss.plot(run["epoch"], run["test_loss"], **look(i), **SOLID, label=label)
        right.plot(run["epoch"], factor * np.asarray(run[f"train_{name}"]), **look(i), **FAINT)
        right.plot(run["epoch"], factor * np.asarray(run[f"test_{name}"]), **look(i), **SOLID, label=label)
    finish(loss, "Loss", "½ squared error/variance" if r2 else "cross-entropy", "test", "training")
    if r2:
        finish(right, "R²", "share of the variance", "test", "training")
        right.set_ylim(bottom=max(right.get_ylim()[0], -1), top=min(right.get_ylim()[1], 1))
    else:
        finish(right, "Accuracy", "%", "test", "training")
        percent(right)
    return figure
