"""Loss over learning rate at several widths: does the best learning rate of a narrow network suit a wide one?"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import plain
from mupi.figures.style import marker, shade
from mupi.recipes.widths.lr_sweep import LrSweep


def plot_lr_transfer(sweeps: Mapping[str, LrSweep]) -> Figure:
    """One panel a parametrization; one curve a width, from light to dark, its best learning rate marked.

    Args:
        sweeps: The losses, by the parametrization's name.
    """
    figure = Figure(figsize=(1 + 4.2 * len(sweeps), 4), layout="constrained")
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axes, (name, sweep) in zip(panels, sweeps.items(), strict=True):
        for i, width in enumerate(sweep.widths):
            color, sign = shade(i, len(sweep.widths)), marker(i)
            mean = np.array(sweep.mean(i))
            finite = np.isfinite(mean)
            axes.plot(
                np.array(sweep.lrs)[finite], mean[finite], f"{sign}-", color=color, markersize=3, label=f"{width}"
            )
            axes.plot(sweep.best_lr(i), mean.min(), "*", color=color, markersize=13, markeredgecolor="black")
        axes.set(yscale="log", xlabel="learning rate η", title=f"{name}: best $η ∝ n^{{{sweep.drift:+.2f}}}$")
        axes.set_xscale("log", base=2)
        plain(axes, legend=None)
    panels[0].set_ylabel("training loss")
    panels[-1].legend(title="width", frameon=False, fontsize="small")
    return figure
