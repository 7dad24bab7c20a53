"""Figures of the tables in docs/results.md whose runs are not kept: what they show is what the tables say.

    python benchmarks/results_figures.py [--out docs/figures]

Where a figure wants the numbers of each seed and the table has their mean and standard deviation, as many numbers are
taken that have these two; of two seeds they are the seeds' own.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mupi.figures.axes import look, plain
from mupi.figures.names import called
from mupi.figures.style import REFERENCE, color, cut, marker, percent
from mupi.layers import LayerError
from mupi.recipes.comparison.plots import plot_comparison
from mupi.recipes.comparison.results import Result, Summary
from mupi.recipes.comparison.truncation import plot_truncation
from mupi.recipes.omniglot.plots import plot_width
from mupi.recipes.transfer.plots import TransferCurves, plot_transfer
from mupi.training.atomic import write_figure
from mupi.training.epoch_metrics import EpochMetrics

DOCS = Path(__file__).parent.parent / "docs"
NUMBER = re.compile(r"[−-]?(?:\d[\d,]*)?\.?\d+(?:e-?\d+)?")

Rows = list[list[str]]
"""Of a table: cells, without what makes them bold or code."""


def table(text: str, after: str, nth: int = 0) -> Rows:
    """The rows of the ``nth`` table that follows a phrase, its header first."""
    lines = text[text.index(after) :].splitlines()
    found, rows = -1, Rows()
    for line, before in zip(lines[1:], lines, strict=False):
        if line.startswith("|"):
            found += not before.startswith("|")
            if found == nth and not line.startswith("|---"):
                rows.append([re.sub(r"[*`]", "", cell).strip() for cell in line.strip().strip("|").split("|")])
        elif found == nth:
            return rows
    raise ValueError(f"no table {nth} after {after!r}")


def numbers(cell: str) -> list[float]:
    """All numbers of a cell."""
    return [float(match.replace("−", "-").replace(",", "")) for match in NUMBER.findall(cell)]


def seeds(cell: str, count: int, scale: float = 1.0) -> list[float]:
    """So many numbers with the mean and the standard deviation of a cell, or its only number."""
    mean, *deviation = numbers(cell)
    d = deviation[0] if deviation else 0.0
    spread = {1: [0.0], 2: [-((d * d / 2) ** 0.5), (d * d / 2) ** 0.5], 3: [-d, 0.0, d]}[count if deviation else 1]
    return [(mean + shift) * scale for shift in spread]


def omniglot_width(text: str) -> Figure:
    """Accuracy of the protocol of [A] by width."""
    widths, limits = {}, {}
    for name, count, cell, *_ in table(text, "Protocol of [A]")[1:]:
        if at := re.match(r"mu-net --width (\d+)", name):
            widths[int(at[1])] = seeds(cell.split("±")[0] if int(count) == 1 else cell, int(count), 0.01)
        elif "identity" in name:
            nngp, ntk = cell.split(", ")
            limits |= {"NNGP, linear": seeds(nngp, 3, 0.01), "NTK, linear": seeds(ntk, 3, 0.01)}
        else:
            title = {"nngp": "NNGP, ReLU", "ntk": "NTK, ReLU", "mu-limit": "μ-limit, n = ∞"}[name.split()[0]]
            limits[title] = seeds(cell, 3, 0.01)
    return plot_width(widths, {name: limits[name] for name in sorted(limits, key=lambda name: "∞" not in name)})


def transfer(rows: Rows, baselines: Mapping[str, float], title: str) -> Figure:
    """Accuracy by epoch of pretraining; rows begin with model and untrained network, epochs are numbers in the head."""
    head = rows[0]
    first = head.index("untrained")
    columns = [first, *(i for i, name in enumerate(head) if re.fullmatch(r"(epoch )?\d+", name))]
    epochs = [0, *(int(numbers(head[i])[-1]) for i in columns[1:])]
    measure = "learned kernel: test accuracy, %"
    models = [
        TransferCurves(row[0].split(", degree")[0], epochs, {measure: [seeds(row[i], 2) for i in columns]})
        for row in rows[1:]
    ]
    figure = plot_transfer(models, baselines, title)
    figure.set_size_inches(6, 4)
    return figure


def transfers(text: str) -> dict[str, Figure]:
    """From ImageNet without and with shifts, and from Omniglot's background alphabets."""
    found = re.search(r"these 10,000: NNGP ([\d.]+), NTK ([\d.]+), of inputs of norm 1 ([\d.]+) and ([\d.]+)\.", text)
    assert found
    names = ("NNGP", "NTK", "NNGP, inputs of norm 1", "NTK, inputs of norm 1")
    kernels = {name: float(value) / 100 for name, value in zip(names, found.groups(), strict=True)}
    title = "ImageNet (stand-in) → 10,000 images of CIFAR-10"
    shifted = table(text, "**Forty epochs with shifts.**")
    few = [shifted[0], *(row for row in shifted[1:] if row[1] == "10,000")]
    alphabets = table(text, "**Omniglot, background → evaluation alphabets**")
    own = {"NNGP": 0.0, "NTK": 0.0}
    for name, value in re.findall(r"over the (NNGP|NTK) \(([\d.]+)\)", " ".join(alphabets[0])):
        own[name] = float(value) / 100
    return {
        "transfer": transfer(table(text, "**ImageNet → CIFAR-10.**"), kernels, title),
        "transfer_shift": transfer(few, kernels, f"{title}, pretraining with shifts"),
        "transfer_omniglot": transfer(alphabets, own, "Omniglot: background → evaluation alphabets"),
    }


def measured(
    name: str, accuracies: Sequence[float], seconds: float, peak: float, errors: Sequence[LayerError] = ()
) -> Summary:
    """A model of a table."""
    rest: dict[str, Any] = dict(train_loss=0.0, test_loss=0.0, stored_mb=0.0, peak_mb=0.0, atoms=0, train_accuracy=0.0)
    last = EpochMetrics(epoch=1, seconds=seconds, test_accuracy=accuracies[0], layer_errors=tuple(errors), **rest)
    results = (Result(name, i, accuracy, seconds, peak, 0, "", (last,)) for i, accuracy in enumerate(accuracies))
    return Summary(name, tuple(results))


def truncation(text: str) -> Figure:
    """Accuracy against errors after the last epoch, features and seconds."""
    summaries, features = {}, {}
    for name, count, accuracy, _, seconds, *layers in table(text, "**What the truncation costs.**")[1:]:
        errors = [
            LayerError(layer, *numbers(cell)[-2:], atoms=0)
            for layer, cell in zip(("1", "readout"), layers, strict=True)
        ]
        summaries[name] = measured(name, seeds(accuracy, 1, 0.01), numbers(seconds)[0], 0.0, errors)
        features[name] = int(numbers(count)[0])
    return plot_truncation(summaries, features)


def compare_cifar10(text: str) -> Figure:
    """Bars of the whole family."""
    rows = table(text, "## The whole family on CIFAR-10")[1:]
    summaries = [
        measured(name, seeds(accuracy, 3, 0.01), numbers(seconds)[0], numbers(peak)[0])
        for name, accuracy, seconds, peak, *_ in rows
    ]
    title = "CIFAR-10, 10,000 images, 5 epochs, networks of n = 1,024; accuracy ± 1 s.d. of 3 seeds"
    return plot_comparison(summaries, title)


def line(axes: Axes, x: Sequence[float], y: Sequence[float], i: int, label: str, **others: Any) -> None:
    """A line with the look of number ``i``."""
    axes.plot(x, y, **look(i) | dict(markersize=5), label=label, **others)


def exact(text: str) -> Figure:
    """Training loss and test accuracy by epoch, beside the exact limit."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (name, losses, accuracies, *_) in enumerate(table(text, "**Beside the exact limit**")[1:]):
        label = "exact (Atoms)" if "Atoms" in name else name
        for axes, cell in ((loss, losses), (accuracy, accuracies)):
            line(axes, range(1, 6), numbers(cell), i, label)
    loss.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy", xticks=range(1, 6))
    accuracy.set(title="Test accuracy", xlabel="epoch", ylabel="%", xticks=range(1, 6))
    percent(accuracy)
    cut(loss)
    plain(loss)
    plain(accuracy)
    return figure


def transformer(text: str) -> Figure:
    """Training loss and test accuracy by width, and of the limit."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    rows = table(text, "### Transformers on CIFAR-10")[1:]
    widths = [int(numbers(name)[0]) for name, *_ in rows[:-1]]
    for axes, column in zip(panels, (3, 4), strict=True):
        means, deviations = zip(*(numbers(row[column]) for row in rows), strict=True)
        limit, d = means[-1], deviations[-1]
        axes.errorbar(widths, means[:-1], deviations[:-1], fmt="o-", color=color(0), capsize=3, label="finite π-nets")
        axes.axhline(limit, color="black", label="π-limit")
        axes.axhspan(limit - d, limit + d, color="black", alpha=0.12, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [f"{n:,}" for n in widths])
        axes.minorticks_off()
        axes.set_xlabel("width n")
        axes.margins(x=0.15)
    panels[0].set(title="Training loss of the last epoch", ylabel="cross-entropy (± 1 s.d. of 2 seeds)")
    panels[1].set(title="Test accuracy", ylabel="% (± 1 s.d. of 2 seeds)")
    percent(panels[1])
    cut(panels[0])
    for axes in panels:
        plain(axes)
    return figure


def depth(text: str) -> Figure:
    """Accuracy against the number of branches; the table has both architectures side by side."""
    figure = Figure(figsize=(9.4, 3.8), layout="constrained")
    rows = table(text, "### Depth, with and without branch scaling")
    middle = rows[0].index("")
    halves = [[row[:middle] for row in rows], [row[middle + 1 :] for row in rows]]
    for axes, (head, *lines), title in zip(
        figure.subplots(1, 2, sharey=True), halves, ("ResNet", "Transformer"), strict=True
    ):
        depths = [int(numbers(cell)[0]) for cell in head[1:]]
        for i, (name, *cells) in enumerate(lines):
            multiplier, rate = name.split(", lr ")
            x, y = zip(*((n, numbers(cell)[0]) for n, cell in zip(depths, cells, strict=True) if cell), strict=True)
            line(axes, x, y, i, f"multiplier {multiplier}, rate {float(rate):g}")
        axes.set(title=title, xlabel="number of branches L", xscale="log")
        axes.set_xticks(depths, [str(n) for n in depths])
        axes.minorticks_off()
    left, right = figure.axes
    left.set_ylabel("test accuracy, %")
    for axes in (left, right):
        percent(axes)
        plain(axes)
    return figure


def programs(text: str) -> Figure:
    """Distances to the limit at the least and the largest width; slopes are those that were fitted to all five."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    ends = (64, 1024)
    for i, (name, gaps, slope, *_) in enumerate(table(text, "`mupi program all")[1:]):
        label = f"{called(name.split(' (')[0])}: {slope}"
        axes.loglog(ends, numbers(gaps), color=color(i), marker=marker(i), markersize=4, linewidth=1, label=label)
    axes.loglog(ends, [5.0, 5.0 * (ends[0] / ends[1]) ** 0.5], **REFERENCE, label="slope −½")
    axes.set(title="Averages at width n: distance to the limit", xlabel="width n", ylabel="root mean square over runs")
    axes.set_xticks(ends, [f"{n:,}" for n in ends])
    axes.minorticks_off()
    plain(axes, legend=None)
    title = "program: slope over five widths"
    small: dict[str, Any] = dict(frameon=False, fontsize="x-small", title_fontsize="x-small")
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5), **small)
    return figure


def main(out: Path = DOCS / "figures") -> None:
    """Draw all of them.

    Args:
        out: Folder of the figures.
    """
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    figures = {
        "omniglot_width": omniglot_width(text),
        **transfers(text),
        "cifar10_truncation": truncation(text),
        "compare_cifar10": compare_cifar10(text),
        "cifar10_exact": exact(text),
        "cifar10_transformer": transformer(text),
        "cifar10_depth": depth(text),
        "tensor_programs": programs(text),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            write_figure(out / f"{name}.{suffix}", figure)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
