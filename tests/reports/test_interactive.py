"""What plotly draws is what matplotlib draws."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from mupi.figures.abc_map import plot_abc_map
from mupi.parametrization import Parametrization
from mupi.reports.interactive import interactive

X = [1.0, 10.0, 100.0]


def drawn(draw, **axes_settings):
    figure = Figure()
    axes = figure.subplots()
    draw(axes)
    axes.set(**axes_settings)
    return interactive(figure)


def test_lines_keep_their_numbers_names_colors_and_signs():
    page = drawn(lambda axes: axes.plot(X, [3, 2, 1], "s--", color="#cc0000", label="gap"), xscale="log", title="Gaps")
    (line,) = page.data
    assert list(line.x) == X and list(line.y) == [3, 2, 1]
    assert (line.name, line.showlegend, line.mode) == ("gap", True, "lines+markers")
    assert (line.line.color, line.line.dash, line.marker.symbol) == ("rgba(204,0,0,1)", "dash", "square")
    # As matplotlib has it: a margin of 5 % on either side.
    assert page.layout.xaxis1.type == "log" and list(page.layout.xaxis1.range) == pytest.approx([-0.1, 2.1])
    assert [note.text for note in page.layout.annotations] == ["Gaps"]


def test_a_line_across_the_axes_ends_where_they_end():
    page = drawn(lambda axes: axes.axhline(5), xlim=(-3, 7))
    assert list(page.data[0].x) == [-3, 7] and list(page.data[0].y) == [5, 5]


def test_bands_lie_below_lines():
    def draw(axes):
        axes.plot(X, [1, 2, 3])
        axes.fill_between(X, [0, 1, 2], [2, 3, 4], alpha=0.2)

    band, line = drawn(draw).data
    assert band.fill == "toself" and line.fill is None
    assert {(x, y) for x, y in zip(band.x, band.y, strict=True)} >= {(1, 0), (1, 2), (100, 2), (100, 4)}


def test_error_bars_go_as_far_as_errors():
    segments = drawn(lambda axes: axes.errorbar(X, [1, 2, 3], [0.1, 0.2, 0.3], label="n")).data
    ends = [(x, y) for trace in segments for x, y in zip(trace.x, trace.y, strict=True) if not np.isnan(y)]
    assert {(1.0, 0.9), (1.0, 1.1), (100.0, 2.7), (100.0, 3.3)} <= {(x, round(y, 9)) for x, y in ends}
    assert [trace.name for trace in segments if trace.name] == ["n"]


def test_bars_lie_as_they_lie():
    def draw(axes):
        axes.barh([0, 1], [90, 75], height=0.7)
        axes.set_yticks([0, 1], ["NNGP", "μ-net"])

    page = drawn(draw)
    (bars,) = page.data
    assert bars.orientation == "h" and list(bars.x) == [90, 75] and list(bars.width) == [0.7, 0.7]
    assert list(page.layout.yaxis1.ticktext) == ["NNGP", "μ-net"]


def test_images_keep_values_and_colors():
    image = drawn(lambda axes: axes.imshow(np.arange(6).reshape(2, 3), cmap="Reds", vmin=0, vmax=10))
    (heat,) = image.data
    assert np.array_equal(heat.z, [[0, 1, 2], [3, 4, 5]]) and (heat.zmin, heat.zmax) == (0, 10)
    # The first row is on top.
    low, high = image.layout.yaxis1.range
    assert low > high


def test_a_legend_that_names_what_is_drawn_elsewhere_is_there():
    def draw(axes):
        axes.plot(X, X, label="a")
        axes.legend(handles=[*axes.lines, Line2D([], [], linestyle=":", label="in training")])

    assert [(trace.name, trace.showlegend) for trace in drawn(draw).data] == [("a", True), ("in training", True)]


def test_panels_share_a_legend():
    figure = Figure()
    for axes in figure.subplots(1, 2):
        axes.plot(X, X, label="a")
    assert [(t.legendgroup, t.showlegend) for t in interactive(figure).data] == [("a", True), ("a", False)]


def test_panels_inside_panels_have_their_place():
    def draw(axes):
        axes.plot(X, X)
        axes.text(1, 1, "a digit", color="#cc0000")
        axes.inset_axes((0.5, 0.5, 0.4, 0.4)).imshow(np.eye(2))

    page = drawn(draw)
    assert [trace.type for trace in page.data] == ["scatter", "heatmap"]
    outer, inner = page.layout.xaxis1.domain, page.layout.xaxis2.domain
    assert outer[0] < inner[0] < inner[1] < outer[1]
    assert [(note.text, note.font.color) for note in page.layout.annotations] == [("a digit", "rgba(204,0,0,1)")]


def test_maps_of_parametrizations_are_drawn():
    page = interactive(plot_abc_map({"μP": Parametrization.mup(2)}))
    assert sum(trace.type == "heatmap" for trace in page.data) == 2
    assert {"learns features", "kernel regime"} <= {trace.name for trace in page.data}


def test_what_would_be_missing_is_refused():
    with pytest.raises(TypeError, match="Circle has no counterpart"):
        drawn(lambda axes: axes.add_patch(Circle((0, 0), 1)))


def test_markers_are_as_faint_and_as_hollow_as_drawn():
    figure = Figure()
    axes = figure.subplots()
    axes.plot(X, X, "o--", color="#0072b2", alpha=0.5, markersize=3)
    axes.plot(X, X, "s", color="#0072b2", fillstyle="none", markersize=9)
    faint, hollow = interactive(figure).data
    assert faint.marker.color.endswith(",0.5)") and faint.marker.line.width == 0
    assert hollow.marker.color.endswith(",0)") and hollow.marker.line.width > 0
    assert hollow.marker.size == 12
