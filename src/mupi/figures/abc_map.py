"""The map of abc-parametrizations: two plane sections, colored by their verdicts (Yang & Hu 2021, figure 2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mupi.parametrization import Parametrization

HALF = Fraction(1, 2)


class Verdict(Enum):
    """A parametrization's class, with its color on the map."""

    UNSTABLE = "white"
    TRIVIAL = "0.88"
    KERNEL = "#7fb2dd"
    FEATURES = "#f2994a"


LEGEND = {
    Verdict.FEATURES: "learns features",
    Verdict.KERNEL: "kernel regime",
    Verdict.TRIVIAL: "stable, trivial",
    Verdict.UNSTABLE: "unstable",
}


def classify(p: Parametrization) -> Verdict:
    """By the conditions of the theorems."""
    if p.learns_features:
        return Verdict.FEATURES
    if p.kernel_regime:
        return Verdict.KERNEL
    return Verdict.TRIVIAL if p.stable else Verdict.UNSTABLE


@dataclass(frozen=True)
class Section:
    """A plane in the space of exponents, with one representative of the shifts of each.

    Attributes:
        title: What is kept fixed.
        xlabel: First coordinate.
        ylabel: Second coordinate.
        at: The parametrization at a point.
        where: The point of a parametrization; it lies in the plane if `at` there is equivalent to it, or, for the
            verdict's purposes, if it has the same r.
        x: Range of the first coordinate.
        y: Range of the second coordinate.
    """

    title: str
    xlabel: str
    ylabel: str
    at: Callable[[Fraction, Fraction], Parametrization]
    where: Callable[[Parametrization], tuple[Fraction, Fraction]]
    x: tuple[Fraction, Fraction]
    y: tuple[Fraction, Fraction]

    def verdicts(self, step: Fraction) -> tuple[list[Fraction], list[Fraction], list[list[Verdict]]]:
        """Grid of both coordinates, and the verdicts on it, one row for each y.

        Twice as fine in the first: the kernel face has slope −2, and so is a line without gaps.
        """
        x, y = _grid(*self.x, step), _grid(*self.y, 2 * step)
        return x, y, [[classify(self.at(u, v)) for u in x] for v in y]


def sections(depth: int = 2) -> tuple[Section, Section]:
    """Two planes of networks, all weights but the readout updated alike, and a_l = 0 for hidden weights.

    The first is what one can do to SP: the readout is initialised as usual, with b_{L+1} = ½; one chooses its
    multiplier a_{L+1} and the learning rate's c. The second is the face on which the readout is maximally updated,
    2a_{L+1} + c = 1: there the choice of its initial size a_{L+1}+b_{L+1} and of c separates kernel and feature
    learning.
    """
    first, hidden = ((-HALF, HALF), (Fraction(0), HALF))

    def network(a_last: Fraction, b_last: Fraction, c: Fraction) -> Parametrization:
        a = (first[0], *[hidden[0]] * (depth - 1), a_last)
        b = (first[1], *[hidden[1]] * (depth - 1), b_last)
        return Parametrization(a, b, c)

    def gauge(p: Parametrization) -> Parametrization:
        """The shift in which the body's update exponent min_l [2a_l + 1(l = 1)] is 0, as it is in these planes."""
        return p.shift(-min(2 * a + (layer == 0) for layer, a in enumerate(p.a[:-1])) / 2)

    def choice(p: Parametrization) -> tuple[Fraction, Fraction]:
        q = gauge(p)
        return q.a[-1], q.c

    def face(p: Parametrization) -> tuple[Fraction, Fraction]:
        return p.initial_readout, gauge(p).c

    return (
        Section(
            "readout initialised as in SP: $b_{L+1} = 1/2$",
            "readout multiplier $a_{L+1}$",
            "learning rate $c$",
            lambda a, c: network(a, HALF, c),
            choice,
            (Fraction(-1, 4), Fraction(1)),
            (Fraction(-1, 4), Fraction(3, 2)),
        ),
        Section(
            "readout maximally updated: $2a_{L+1} + c = 1$",
            "initial readout $a_{L+1} + b_{L+1}$",
            "learning rate $c$",
            lambda s, c: network((1 - c) / 2, s - (1 - c) / 2, c),
            face,
            (Fraction(1, 4), Fraction(3, 2)),
            (Fraction(-1, 4), Fraction(3, 2)),
        ),
    )


def plot_abc_map(named: Mapping[str, Parametrization], step: Fraction = Fraction(1, 40), depth: int = 2) -> Figure:
    """Draw both sections, every cell colored by what the conditions say at its centre.

    Args:
        named: Parametrizations to mark, each in the sections that it lies in.
        step: Of the grid; 1/8 must be a multiple of it, so that the faces, which have no width, are on the grid.
        depth: L.
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
            color = classify(section.at(x, y)).value
            axes.plot(float(x), float(y), "o", markeredgecolor="black", color=color, markersize=8, zorder=3)
            axes.annotate(", ".join(names), (float(x), float(y)), (7, 6), textcoords="offset points", weight="bold")
    handles = [Patch(facecolor=v.value, edgecolor="0.6", label=words) for v, words in LEGEND.items()]
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
        cmap=ListedColormap([v.value for v in order]),
        vmin=-0.5,
        vmax=len(order) - 0.5,
        shading="nearest",
    )
    axes.set(title=section.title, xlabel=section.xlabel, ylabel=section.ylabel)
    axes.spines[["top", "right"]].set_visible(False)


def _grid(low: Fraction, high: Fraction, step: Fraction) -> list[Fraction]:
    return [low + k * step for k in range(int((high - low) / step) + 1)]
