"""Plots from saved runs, and the record of an epoch that they are made from."""

from mupi.extras import require

require("matplotlib", "a figure")

# ruff: noqa: E402
from mupi.figures.cost import plot_cost
from mupi.figures.curves import plot_curves
from mupi.figures.metrics import EpochMetrics

__all__ = ["EpochMetrics", "plot_cost", "plot_curves"]
