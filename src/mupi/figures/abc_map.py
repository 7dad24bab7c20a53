"""The map of abc-parametrizations: two plane sections, colored by their verdicts (Yang & Hu 2021, figure 2)."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from mupi.figures import style
from mupi.parametrization import Parametrization
from mupi.parametrization.plane_sections import Section, Verdict, classify, sections

COLORS = {
    Verdict.UNSTABLE: "white",
    Verdict.TRIVIAL: "0.72",
    Verdict.KERNEL: style.color(0),
    Verdict.FEATURES: style.color(1),
}

LEGEND = {
    Verdict.FEATURES: "learns features",
    Verdict.KERNEL: "kernel regime",
    Verdict.TRIVIAL: "stable, trivial",
    Verdict.UNSTABLE: "unstable",
}


def plot_abc_map(named: Mapping[str, Parametrization], step: Fraction = Fraction(1, 40), depth: int = 2) -> Figure:
    """Draw both sections, every cell colored by what the conditions say at its centre.

    Args:
        named: Parametrizations to mark, each in the sections that it lies in.
        step: Of the grid; 1/8 must be a multiple of it, so that the faces, which have no width, are on the grid.
        depth: Number L of hidden layers.
    """
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    for axes, section in zip(figure.subplots(1, 2), sections(depth), strict=True):
        _draw(axes, section, step)
        labels: dict[tuple[Fraction, Fraction], list[str]] = {}
        for name, p in named.items():
            x, y = section.where(p)
            at = section.at(x, y)
            if (at.r, at.initial_readout, at.readout_update) == (p.r, p.initial_readout, p.readout_update):
                labels.setdefault((x, y), []).append(name)
        for (x, y), names in labels.items():
            color = COLORS[classify(section.at(x, y))]
            axes.plot(float(x), float(y), "o", markeredgecolor="black", color=color, markersize=8, zorder=3)
            label = axes.annotate(
                ", ".join(names), (float(x), float(y)), (7, 6), textcoords="offset points", weight="bold"
            )
            label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    handles = [Patch(facecolor=COLORS[v], edgecolor="0.6", label=words) for v, words in LEGEND.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw(axes: Axes, section: Section, step: Fraction) -> None:
    x, y, verdicts = section.verdicts(step)
    order = list(Verdict)
    colors = np.array([[order.index(v) for v in row] for row in verdicts])
    axes.pcolormesh(
        [float(u) for u in x],
        [float(v) for v in y],
        colors,
        cmap=ListedColormap([COLORS[v] for v in order]),
        vmin=-0.5,
        vmax=len(order) - 0.5,
        shading="nearest",
        rasterized=True,  # thousands of cells would be as many paths in an SVG
    )
    axes.set(title=section.title, xlabel=section.xlabel, ylabel=section.ylabel)
    axes.spines[["top", "right"]].set_visible(False)
