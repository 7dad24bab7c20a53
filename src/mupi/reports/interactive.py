"""A figure of matplotlib as one of plotly: the same numbers in the same colors, to zoom into and to point at.

Plotly's own converter knows neither bands nor images nor horizontal bars, and gives up legends; here is what the
figures of this library are drawn with, and nothing else.
"""

from collections.abc import Callable, Iterable
from math import log10
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib import colors
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.container import BarContainer, Container
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator

PIXELS_PER_INCH = 96
PIXELS_PER_POINT = PIXELS_PER_INCH / 72

LEGEND = 220
"""Pixels to the right of all panels."""

DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}

SYMBOLS = {
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross", "X": "x",
    "*": "star", ".": "circle", "x": "x-thin", "+": "cross-thin", "_": "line-ew", "|": "line-ns",
}  # fmt: skip

ANCHORS = {
    "left": "left", "right": "right", "top": "top", "bottom": "bottom", "baseline": "bottom", "center": "auto",
    "center_baseline": "auto",
}  # fmt: skip

Trace = go.Scatter | go.Bar | go.Heatmap


def interactive(figure: Figure) -> go.Figure:
    """What matplotlib would draw, for plotly.

    Args:
        figure: Of lines, bands, error bars, bars, points, images and notes, on linear or logarithmic axes.

    Returns:
        A figure of the same size.

    Raises:
        TypeError: If something else is drawn in it, which would be missing.
    """
    figure.draw_without_rendering()
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    page = go.Figure()
    page.update_layout(
        template="plotly_white", width=width, height=height, margin=dict(l=0, r=0, t=0, b=0), hovermode="closest",
        legend=dict(tracegroupgap=0, font=dict(size=11)), font=dict(size=12),
    )  # fmt: skip
    shown: set[str] = set()
    panels = [panel for axes in figure.axes for panel in (axes, *axes.child_axes) if isinstance(panel, Axes)]
    for i, axes in enumerate(panels, start=1):
        _place(page, axes, i)
        for trace in _traces(axes):
            # A name that several panels have stands once in the legend, and hides and shows them all.
            trace.update(legendgroup=trace.name, showlegend=bool(trace.name) and trace.name not in shown)
            if trace.name:
                shown.add(str(trace.name))
            page.add_trace(trace.update(xaxis=f"x{i}", yaxis=f"y{i}"))
    for name, handle in _legends(figure):
        if name not in shown:
            shown.add(name)
            page.add_trace(go.Scatter(x=[None], y=[None], name=name, showlegend=True, **_sign(handle)))
    if shown:
        share = width / (width + LEGEND)
        page.update_layout(width=width + LEGEND, legend=dict(x=share + 0.01, y=0.94))
        _make_room(page, share)
    title = figure.get_suptitle()
    if title:
        page.update_layout(title=dict(text=title, font=dict(size=14), y=0.99, yanchor="top"), margin=dict(t=30))
    return page


def _legends(figure: Figure) -> Iterable[tuple[str, Artist | None]]:
    """What all legends say, and beside which sign."""
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes)):
        if legend is not None:
            yield from zip((t.get_text() for t in legend.get_texts()), legend.legend_handles, strict=True)


def _sign(handle: Artist | None) -> dict[str, Any]:
    """What stands in the legend for something that is not drawn under this name."""
    if isinstance(handle, Line2D):
        dash = DASHES.get(str(handle.get_linestyle()), "solid")
        return dict(mode="lines", line=dict(color=_color(handle.get_color(), handle.get_alpha()), dash=dash))
    hue = _color(handle.get_facecolor()) if isinstance(handle, Patch) else "black"
    return dict(mode="markers", marker=dict(color=hue, symbol="square", size=10))


def _make_room(page: go.Figure, share: float) -> None:
    """Shrink all panels to the left, so that the legend stands beside them."""
    for axis in page.select_xaxes():
        axis.domain = [share * end for end in axis.domain]
    for note in page.layout.annotations:
        if note.xref == "paper":
            note.x *= share


def _place(page: go.Figure, axes: Axes, i: int) -> None:
    """The axes number i, with title, labels, ends and notes."""
    box = axes.get_position()
    x = dict(anchor=f"y{i}", domain=_within(box.x0, box.x1), **_axis(axes, "x"))
    y = dict(anchor=f"x{i}", domain=_within(box.y0, box.y1), **_axis(axes, "y"))
    page.update_layout({f"xaxis{i}": x, f"yaxis{i}": y})
    if axes.get_title():
        place = dict(xref="paper", yref="paper", xanchor="center", yanchor="bottom")
        page.add_annotation(text=_lines(axes.get_title()), x=(box.x0 + box.x1) / 2, y=box.y1, showarrow=False, **place)
    for note in axes.texts:
        u, v = note.xy if isinstance(note, Annotation) else note.get_position()
        u, v = (log10(w) if log else w for w, log in ((u, _log(axes, "x")), (v, _log(axes, "y"))))
        at = dict(x=u, y=v, xref=f"x{i}", yref=f"y{i}", showarrow=False)
        anchors = dict(xanchor=ANCHORS[note.get_horizontalalignment()], yanchor=ANCHORS[note.get_verticalalignment()])
        look = dict(size=10, color=_color(note.get_color()))
        page.add_annotation(text=note.get_text(), font=look, **anchors, **at)


def _lines(text: str) -> str:
    return text.replace("\n", "<br>")


def _within(low: float, high: float) -> list[float]:
    return [max(0.0, float(low)), min(1.0, float(high))]


def _log(axes: Axes, which: str) -> bool:
    return getattr(axes, f"get_{which}scale")() == "log"


def _axis(axes: Axes, which: str) -> dict[str, Any]:
    """Label, scale, ends and named ticks of an axis."""
    axis = getattr(axes, f"{which}axis")
    ends = [float(end) for end in getattr(axes, f"get_{which}lim")()]
    look: dict[str, Any] = dict(
        title=dict(text=_lines(axis.get_label_text()), standoff=6), zeroline=False, visible=axes.axison
    )
    if _log(axes, which):
        ticks = [t for t in axis.get_majorticklocs() if min(ends) <= t <= max(ends)]
        look |= dict(type="log", range=[log10(end) for end in ends])
        look |= dict(tickvals=ticks, ticktext=[f"{t:,g}" if t >= 1e-4 else f"{t:.0e}" for t in ticks])
    else:
        look |= dict(range=ends)
    if isinstance(axis.get_major_locator(), FixedLocator):
        look |= dict(tickvals=list(axis.get_ticklocs()), ticktext=[t.get_text() for t in axis.get_ticklabels()])
    if not any(t.get_visible() and t.get_text() for t in axis.get_ticklabels()):
        look |= dict(showticklabels=False)
    return look


def _traces(axes: Axes) -> Iterable[Trace]:
    """What is drawn in data's coordinates, bands first, so that lines are above them."""
    bars = [bar for group in axes.containers if isinstance(group, BarContainer) for bar in group]
    for group in axes.containers:
        if isinstance(group, BarContainer):
            yield _bars(group)
    artists = [a for a in axes.get_children() if a not in bars and _is_data(a, axes)]
    for artist in sorted(artists, key=lambda a: not isinstance(a, PolyCollection | AxesImage | QuadMesh)):
        for kind, drawn in KINDS.items():
            if isinstance(artist, kind):
                yield from drawn(artist, axes)
                break
        else:
            raise TypeError(f"a {type(artist).__name__} has no counterpart in plotly here")


def _is_data(artist: Artist, axes: Axes) -> bool:
    """Whether it is one that data made, and not the frame, a title, the legend or a note."""
    frame = (*axes.spines.values(), axes.xaxis, axes.yaxis, axes.patch, axes.get_legend(), *axes.texts)
    titles = (axes.title, axes._left_title, axes._right_title)  # type: ignore[attr-defined]  # no public names
    return artist.get_visible() and all(artist is not other for other in (*frame, *titles, *axes.child_axes))


def _label(artist: Artist | Container) -> str | None:
    label = str(artist.get_label())
    return None if label.startswith("_") else label


def _color(value: Any, alpha: float | None = None) -> str:
    r, g, b, a = colors.to_rgba(value, alpha)
    return f"rgba({round(255 * r)},{round(255 * g)},{round(255 * b)},{a:.3g})"


def _line(line: Line2D, axes: Axes) -> Iterable[Trace]:
    """A line with its markers; one across the axes gets the ends that they show."""
    x, y = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
    if line.get_transform() == axes.get_yaxis_transform():
        x = np.array(axes.get_xlim())
    elif line.get_transform() == axes.get_xaxis_transform():
        y = np.array(axes.get_ylim())
    marker, style = line.get_marker(), line.get_linestyle()
    has_marker, has_line = marker not in {"None", "", None, "none"}, style in DASHES
    if not (has_marker or has_line):
        return
    mode = "+".join(name for name, there in (("lines", has_line), ("markers", has_marker)) if there)
    hue, face = _color(line.get_color(), line.get_alpha()), line.get_markerfacecolor()
    hollow = isinstance(face, str) and face.lower() == "none"
    yield go.Scatter(
        x=x, y=y, name=_label(line) or _container_label(line, axes), mode=mode,
        line=dict(color=hue, width=line.get_linewidth() * 1.3, dash=DASHES.get(str(style), "solid")),
        marker=dict(
            color=_color(face, line.get_alpha()), symbol=SYMBOLS.get(str(marker), "circle"),
            size=max(4.0, PIXELS_PER_POINT * line.get_markersize()),
            # What has no face is drawn by its edge.
            line=dict(color=hue, width=1.5 if hollow or str(marker) in "x+_|" else 0),
        ),
    )  # fmt: skip


def _container_label(artist: Artist, axes: Axes) -> str | None:
    """What the legend calls a line with error bars."""
    for group in axes.containers:
        if not isinstance(group, BarContainer) and group[0] is artist:
            return _label(group)
    return None


def _band(band: PolyCollection, _: Axes) -> Iterable[Trace]:
    hue = _color(band.get_facecolor()[0])
    for path in band.get_paths():
        x, y = path.vertices.T  # type: ignore[union-attr]
        yield go.Scatter(
            x=x, y=y, fill="toself", fillcolor=hue, line=dict(width=0), mode="lines", hoverinfo="skip",
            name=_label(band),
        )  # fmt: skip


def _segments(bars: LineCollection, _: Axes) -> Iterable[Trace]:
    """Error bars and lines between two points."""
    points = [np.vstack([segment, [[np.nan, np.nan]]]) for segment in bars.get_segments()]
    if points:
        x, y = np.concatenate(points).T
        width = float(np.atleast_1d(bars.get_linewidth())[0])
        look = dict(color=_color(bars.get_color()[0]), width=1.3 * width)
        yield go.Scatter(x=x, y=y, mode="lines", line=look, hoverinfo="skip", name=_label(bars))


def _points(points: PathCollection, _: Axes) -> Iterable[Trace]:
    x, y = np.asarray(points.get_offsets()).T
    hues = [_color(c) for c in points.get_facecolor()]
    look = dict(color=hues[0] if len(hues) == 1 else hues, size=6)
    yield go.Scatter(x=x, y=y, mode="markers", marker=look, name=_label(points))


def _bars(group: BarContainer) -> go.Bar:
    """Bars, and their error bars."""
    flat = group.orientation == "horizontal"
    lengths = [bar.get_width() if flat else bar.get_height() for bar in group]
    places = [bar.get_y() + bar.get_height() / 2 if flat else bar.get_x() + bar.get_width() / 2 for bar in group]
    thick = [bar.get_height() if flat else bar.get_width() for bar in group]
    hues = [_color(bar.get_facecolor()) for bar in group]
    x, y = (lengths, places) if flat else (places, lengths)
    return go.Bar(x=x, y=y, width=thick, marker=dict(color=hues), orientation="h" if flat else "v", name=_label(group))


def _image(image: AxesImage, _: Axes) -> Iterable[Trace]:
    yield _heatmap(np.asarray(image.get_array()), image)


def _mesh(mesh: QuadMesh, _: Axes) -> Iterable[Trace]:
    corners = np.asarray(mesh.get_coordinates())
    x, y = corners[0, :, 0], corners[:, 0, 1]
    values = np.asarray(mesh.get_array()).reshape(len(y) - 1, len(x) - 1)
    yield _heatmap(values, mesh, x=x, y=y)


def _heatmap(values: np.ndarray, artist: AxesImage | QuadMesh, **ends: np.ndarray) -> go.Heatmap:
    low, high = artist.get_clim()
    steps = np.linspace(0, 1, 33)
    scale = [[float(t), _color(artist.get_cmap()(t))] for t in steps]
    return go.Heatmap(z=values, zmin=low, zmax=high, colorscale=scale, showscale=False, **ends)


KINDS: dict[type[Artist], Callable[[Any, Axes], Iterable[Trace]]] = {
    Line2D: _line,
    PolyCollection: _band,
    LineCollection: _segments,
    PathCollection: _points,
    AxesImage: _image,
    QuadMesh: _mesh,
    Rectangle: lambda *_: (),
}
"""By the kind of artist: what draws it. Rectangles that are no bars are frames."""
