"""How much the network of a run looks at each column of its table, as a figure."""

from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from mupi.commands.train.config import TrainConfig
from mupi.commands.train.restore import restore_with_meaning
from mupi.data.own.columns import Columns
from mupi.data.own.load import OwnData
from mupi.figures.importances import plot_importances

FIGURE = "importances.png"
MOST_ROWS = 2000
"""Whose gradients importances are the mean of."""


def column_importances(config: TrainConfig, own: OwnData) -> dict[str, float]:
    """How far outputs of the trained network move with each column, of sum 1; that of words is the sum of its inputs.

    The diagonal of E Σ_c ∇f_c ∇f_cᵀ over training rows, in standardized inputs.

    Args:
        config: Of the run.
        own: What was made of the file that it was trained on.
    """
    from mupi.estimators.importances import gradient_outer_product  # here, as scikit-learn's import takes long

    net, meaning, _ = restore_with_meaning(replace(config, device="cpu"))
    assert isinstance(meaning.inputs, Columns) and isinstance(net, torch.nn.Module)
    x = own.data.train_x[:MOST_ROWS].cpu().numpy()
    diagonal = gradient_outer_product(net, x, np.ones(len(x))).diagonal()
    found = dict.fromkeys(meaning.inputs.names, 0.0)
    for name, value in zip(meaning.inputs.inputs, diagonal / (diagonal.sum() or 1.0), strict=True):
        found[name] += float(value)
    return found


def importances_figure(config: TrainConfig, own: OwnData) -> dict[str, Figure]:
    """Their figure by its name; of images there is none."""
    if not isinstance(own.meaning.inputs, Columns):
        return {}
    found = column_importances(config, own)
    return {FIGURE: plot_importances(list(found.values()), list(found))}
