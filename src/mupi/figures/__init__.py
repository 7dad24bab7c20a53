"""Plots from saved runs."""

from mupi.extras import require

require("matplotlib", "a figure")

# ruff: noqa: E402
from mupi.figures.cost import plot_cost
from mupi.figures.curves import plot_curves
from mupi.figures.importances import plot_importances

__all__ = ["plot_cost", "plot_curves", "plot_importances"]
