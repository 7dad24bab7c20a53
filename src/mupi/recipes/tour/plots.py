"""The picture of the tour: what the first layer looks at, classes before and after, widths up to infinity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mupi.figures.axes import plain
from mupi.figures.style import ACCENT, REFERENCE, color, percent
from mupi.nets import Network
from mupi.recipes.sample_complexity.tasks import FACTORS, PIXELS, TASKS
from mupi.recipes.sample_complexity.weighted import importances
from mupi.recipes.tour.contests import Looked
from mupi.recipes.tour.looks import principal_plane
from mupi.recipes.tour.widths import Distance

REST = "0.55"
"""Of what does not matter."""


def plot_tour(looked: Mapping[str, Looked], found: Sequence[Distance]) -> Figure:
    """Six panels.

    Args:
        looked: What was learned, by task.
        found: Finite networks beside the exact limit.
    """
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    (signs, columns, accuracy), (before, after, distance) = figure.subplots(2, 3)
    _signs(signs, looked["signs"])
    _columns(columns, looked["noisy-digits"])
    _accuracy(accuracy, found)
    _distance(distance, found)
    digits = looked["noisy-digits"]
    _classes(before, digits, digits.before, "before training")
    _classes(after, digits, digits.after, "after training")
    return figure


def _signs(axes: Axes, looked: Looked) -> None:
    after, before = 100 * importances(looked.after), 100 * importances(looked.before)
    x = range(1, len(after) + 1)
    axes.bar(x[:FACTORS], after[:FACTORS], color=ACCENT, label="the four that matter")
    axes.bar(x[FACTORS:], after[FACTORS:], color=REST, label="the others")
    axes.plot(x, before, "k_", markersize=9, label="before training")
    axes.set_ylim(top=1.15 * float(after.max()))
    axes.set(title=TASKS["signs"].title, xlabel="sign", ylabel="share of the first layer, %")
    axes.set_xticks([1, 4, 10, 15, 20])
    plain(axes)


def _columns(axes: Axes, looked: Looked) -> None:
    shares = 100 * importances(looked.after)
    x = np.arange(1, len(shares) + 1)
    axes.plot(x[:PIXELS], shares[:PIXELS], "o", color=ACCENT, markersize=3.5, label="64 pixels")
    axes.plot(x[PIXELS:], shares[PIXELS:], "s", color=REST, markersize=2, label="448 columns of noise")
    axes.axhline(100 / len(shares), **REFERENCE, label="before training, on average")
    axes.set(title="digits beside noise", xlabel="column", ylabel="share of the first layer, %")
    axes.set_xticks([1, 64, 200, 350, 512])
    axes.set_ylim(bottom=0)
    plain(axes, legend=None)
    axes.legend(frameon=False, fontsize="small", loc="center right", bbox_to_anchor=(1, 0.38))
    # What it has learned to look at, as an image.
    image = axes.inset_axes((0.62, 0.62, 0.36, 0.36))
    image.imshow(shares[:PIXELS].reshape(8, 8), cmap="Reds")
    image.set(xticks=[], yticks=[])
    image.set_xlabel("share of each pixel", fontsize="x-small")


def _classes(axes: Axes, looked: Looked, net: Network, when: str) -> None:
    plane, share = principal_plane(net, looked.data.test_x)
    # One after the other covers: by chance, not by class.
    for i in torch.randperm(len(plane), generator=torch.Generator().manual_seed(0)).tolist():
        label = int(looked.data.test_y[i])
        look: dict[str, Any] = dict(fontsize=7.5, fontweight="bold" if label > 7 else "normal", clip_on=True)
        across, up = plane[i].tolist()
        axes.text(across, up, str(label), color=color(label), ha="center", va="center", **look)
    low, high = plane.min(0).values, plane.max(0).values
    room = 0.05 * (high - low)
    axes.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
    axes.set(xticks=[], yticks=[], title=f"digits beside noise, {when}")
    axes.set_xlabel(f"two principal components of the last hidden layer\n({share:.0%} of its variance), test rows")
    axes.spines[["top", "right"]].set_visible(False)


def _split(found: Sequence[Distance]) -> tuple[list[Distance], Distance, Distance]:
    return [one for one in found if one.width is not None], found[-2], found[-1]


def _accuracy(axes: Axes, found: Sequence[Distance]) -> None:
    finite, constant, exact = _split(found)
    widths = [one.width or 0 for one in finite]
    axes.errorbar(
        widths, [100 * one.accuracy for one in finite], [100 * one.deviation for one in finite], marker="o",
        color=color(0), markersize=5, capsize=2, label="finite π-nets",
    )  # fmt: skip
    axes.axhline(100 * exact.accuracy, color="k", label="∞, exact (Atoms)")
    axes.axhline(100 * constant.accuracy, color=ACCENT, linestyle="--", label="∞, constant memory (Hermite)")
    _by_width(axes, widths)
    seeds = len(exact.accuracies)
    bars = f"\n(bars: ± 1 s.d. of {seeds} seeds)" if seeds > 1 else ""
    axes.set(title="by width, after a short training", ylabel=f"test accuracy, %{bars}")
    values = [100 * a for one in found for a in one.accuracies]
    axes.set_ylim(min(values) - 4, max(values) + 4)
    percent(axes)
    plain(axes)


def _distance(axes: Axes, found: Sequence[Distance]) -> None:
    finite, constant, exact = _split(found)
    widths = [one.width or 0 for one in finite]
    for i in range(len(exact.distances)):
        axes.plot(widths, [one.distances[i] for one in finite], "o", color=color(0), markersize=3, alpha=0.5)
    axes.plot(widths, [one.distance for one in finite], color=color(0), label="finite π-nets, mean; dots: seeds")
    first = finite[0]
    theory = [first.distance * (widths[0] / n) ** 0.5 for n in widths]
    axes.plot(widths, theory, **REFERENCE, label="slope of theory, −½")
    axes.axhline(constant.distance, color=ACCENT, linestyle="--", label="∞, constant memory (Hermite)")
    axes.set(yscale="log", title="distance to the exact limit", ylabel="‖f − f_∞‖ / ‖f_∞‖, test rows")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_yticks([0.03, 0.1, 0.3, 1.0])
    _by_width(axes, widths)
    plain(axes)


def _by_width(axes: Axes, widths: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(widths, [f"{n:,}" for n in widths], fontsize="small")
    axes.minorticks_off()
    axes.set_xlabel("width n")
