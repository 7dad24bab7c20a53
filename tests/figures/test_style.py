"""Colors that stay apart in deuteranopia, markers that differ, no accuracy beyond 100 %, and all figures take them."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import mupi
from mupi.figures import plot_curves, style
from mupi.figures.abc_map import COLORS as OF_VERDICTS

# Deuteranopia in linear sRGB (Machado, Oliveira & Fernandes 2009, severity 1), and linear sRGB to XYZ.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(color, seen):
    """CIELAB (D65) of a color as seen by eyes that are a matrix on linear sRGB."""
    c = np.asarray(to_rgb(color))
    linear = np.clip(seen @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), 0, 1)
    t = TO_XYZ @ linear / [0.95047, 1.0, 1.08883]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def ciede2000(first, second):
    """ΔE of two colors in CIELAB (Sharma, Wu & Dalal 2005)."""
    (L1, a1, b1), (L2, a2, b2) = first, second
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    a1, a2 = (a * (1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7))) for a in (a1, a2))
    C1, C2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if C1 * C2 else 0.0
    L, C, h = (L1 + L2) / 2, (C1 + C2) / 2, (h1 + turn / 2) % 360 if C1 * C2 else h1 + h2
    cos = [np.cos(np.radians(x)) for x in (h - 30, 2 * h, 3 * h + 6, 4 * h - 63)]
    T = 1 - 0.17 * cos[0] + 0.24 * cos[1] + 0.32 * cos[2] - 0.20 * cos[3]
    ΔL = (L2 - L1) / (1 + 0.015 * (L - 50) ** 2 / np.sqrt(20 + (L - 50) ** 2))
    ΔC = (C2 - C1) / (1 + 0.045 * C)
    ΔH = 2 * np.sqrt(C1 * C2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * C * T)
    R = -2 * np.sqrt(C**7 / (C**7 + 25**7)) * np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2))))
    return np.sqrt(ΔL**2 + ΔC**2 + ΔH**2 + R * ΔC * ΔH)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ],
)
def test_the_distance_is_that_of_the_published_pairs(first, second, expected):
    assert ciede2000(first, second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA], ids=["all colors", "deuteranopia"])
@pytest.mark.parametrize("colors", [(*style.COLORS, "black"), tuple(OF_VERDICTS.values())], ids=["lines", "verdicts"])
def test_any_two_colors_of_a_plot_are_apart(colors, seen):
    assert min(ciede2000(lab(a, seen), lab(b, seen)) for a, b in combinations(colors, 2)) >= 15


def test_shades_are_colors_of_the_palette_from_light_to_dark_and_differ_as_long_as_they_can():
    assert set(style.LIGHT_TO_DARK) | {style.ACCENT} == set(style.COLORS)
    lightness = [lab(color, np.eye(3))[0] for color in style.LIGHT_TO_DARK]
    assert lightness == sorted(lightness, reverse=True)
    for count in range(1, 8):
        assert len({style.shade(i, count) for i in range(count)}) == count


def test_no_two_lines_share_color_and_marker():
    assert len({(style.color(i), style.marker(i)) for i in range(64)}) == 64
    for count in (9, 16, 24):
        assert len({(style.shade(i, count), style.marker(i)) for i in range(count)}) == count


def test_figures_take_their_colors_from_the_style():
    root = Path(mupi.__file__).parent
    for path in [
        *root.glob("figures/*.py"),
        *root.glob("recipes/**/*plots.py"),
        *root.glob("recipes/**/truncation.py"),
    ]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""["']C\d|f"C\{|tab10|viridis""", text), path


def test_no_accuracy_axis_goes_beyond_100():
    run = dict(epoch=[1, 2], train_loss=[1, 0], train_accuracy=[0.9, 1.0], test_loss=[1, 0], test_accuracy=[0.9, 1.0])
    _, accuracy = plot_curves({"run": run}).axes
    assert accuracy.get_ylim()[1] <= 100
    low = Figure().subplots()
    low.plot([10, 20])
    style.percent(low)
    assert low.get_ylim()[1] < 30


def test_an_accuracy_axis_that_does_not_begin_at_0_is_marked_and_no_data_is_added():
    for low, marks in ((0, 0), (40, 1)):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([50, 90])
        axes.set_ylim(low, 120)
        style.percent(axes)
        assert axes.get_ylim() == (low, 100) and len(axes.lines) == 1
        assert len(figure.artists) == marks
