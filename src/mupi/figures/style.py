"""How all figures look: colors that stay apart for readers who see no green, and a marker of its own for each line."""

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.path import Path

ACCENT = "#cc0000"
"""Of the one line that a figure is about, beside the shades of others."""

COLORS = ("#0072b2", "#e69f00", "#138669", ACCENT, "#66cccc", "#660000", "#d98c8c", "#000066")
"""Of lines that are told apart. Any two, and black, are 15 or more apart (CIEDE2000), in deuteranopia too: a test."""

LIGHT_TO_DARK = ("#66cccc", "#e69f00", "#d98c8c", "#138669", "#0072b2", "#660000", "#000066")
"""Those of `COLORS` for lines in an order, such as widths; black is the limit's."""

MARKERS = "osD^vPX*"

REFERENCE: dict[str, Any] = dict(color="0.4", linestyle="--", linewidth=1.2)
"""Lines that nobody measured: slopes of a theory, levels to compare with."""


DASHES = (":", "--", "-.", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
"""Of levels that lie close together, kernels that nobody trains above all."""


def color(i: int) -> str:
    """The color of line ``i``; after eight they begin again, with the other markers of `marker`."""
    return COLORS[i % len(COLORS)]


def marker(i: int) -> str:
    """The marker of line ``i``: another one for each of eight, and shifted by one in each further eight."""
    return MARKERS[(i + i // len(COLORS)) % len(MARKERS)]


def shade(i: int, count: int) -> str:
    """The color of line ``i`` of ``count`` in an order, from light to dark; after seven again, with other markers."""
    colors = len(LIGHT_TO_DARK)
    if count <= colors:
        return LIGHT_TO_DARK[round((colors - 1) * i / max(count - 1, 1))]
    return LIGHT_TO_DARK[(i + i // colors) % colors]


def level(i: int, drawn: int = 0) -> dict[str, Any]:
    """How the line across a plot looks that is level ``i``, after ``drawn`` lines that are none."""
    return dict(color=color(drawn + i), linestyle=DASHES[i % len(DASHES)], linewidth=1.4)


def percent(axes: Axes) -> None:
    """End the y axis at 100 %, beyond which there is no accuracy, and mark it where it does not begin at 0.

    Args:
        axes: With all that is drawn, and the ends of its y axis.
    """
    if axes.get_ylim()[1] > 100:
        axes.set_ylim(top=100)
    if axes.get_ylim()[0] > 0:
        cut(axes)


def cut(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Two short strokes across the beginning of an axis that does not begin at 0.

    Args:
        axes: The plot that has the axis.
        which: Of its two axes.
    """
    along, ends = (0.025, 0.045), [(-1.0, -0.5), (1.0, 0.5)]
    x, y = (along, (0, 0)) if which == "x" else ((0, 0), along)
    stroke = Path([(b, a) for a, b in ends] if which == "x" else ends)
    strokes = Line2D(
        x, y, transform=axes.transAxes, marker=stroke, markersize=9, markeredgecolor="0.15", linestyle="none"
    )  # fmt: skip
    # Of the figure, as it is no data of the axes'.
    axes.figure.add_artist(strokes)
