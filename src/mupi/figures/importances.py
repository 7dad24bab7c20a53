"""What a model looks at: the importance of each column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mupi.checks import fail
from mupi.figures.axes import Numbers, plain
from mupi.figures.style import color


def plot_importances(importances: Any, names: Sequence[str] | None = None, most: int = 20) -> Figure:
    """A bar for each column, the most important on top.

    >>> from mupi.figures import plot_importances
    >>> axes = plot_importances([0.1, 0.7, 0.2], ["age", "height", "weight"]).axes[0]
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['age', 'weight', 'height']

    Args:
        importances: A number for each column; or a fitted estimator, whose ``feature_importances_`` they are
            (`mupi.estimators.PiClassifier`, say), with the names of the data frame that it was fitted to.
        names: Of the columns; None for the estimator's, or else x0, x1, …
        most: How many are shown, the most important ones.

    Raises:
        ValueError: If there is not one finite number ≥ 0 for each name.
    """
    found: Numbers = getattr(importances, "feature_importances_", importances)
    if names is None:
        names = getattr(importances, "feature_names_in_", None)
    try:
        values = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values >= 0)).all():
        must = "finite numbers ≥ 0, one for each column, or a fitted estimator with feature_importances_"
        fail("plot_importances(importances=...)", must, f"{type(importances).__name__} of shape {values.shape}")
    if names is None:
        names = [f"x{i}" for i in range(len(values))]
    if len(names) != len(values):
        fail("plot_importances(names=...)", f"{len(values)} names, one for each importance", f"{len(names)}")
    order = np.argsort(-values, kind="stable")[:most][::-1]
    figure = Figure(figsize=(6, 0.28 * len(order) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), values[order], color=color(0))
    axes.set_yticks(range(len(order)), [str(names[i]) for i in order])
    hidden = len(values) - len(order)
    axes.set_xlabel("importance" + (f"; {hidden} columns with less are not shown" if hidden else ""))
    plain(axes, legend=None)
    return figure
