"""Figures of the runs that `cifar10_cnn.py` has written.

    python benchmarks/cifar10_cnn_figures.py [--runs runs/cnn] [--data-dir DIR] [--out docs/figures]

cifar10_depth.png: accuracy against depth with and without 1/√L, of runs that are called depth-…;
cifar10_transformer.png: loss and accuracy over epochs of the other transformers, a π-limit and its finite π-nets; their
kernel alignments are printed;
cifar10_cnn.png: accuracy over seconds of training, of all the rest;
cifar10_cnn_features.png: of the limit of the cnn, filters of the first layer, and the principal components of the
features of each layer, before and after training, as `cnn_features.py` draws them of a run of `mupi train`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import mupi
from cifar10_cnn import Config, build
from cnn_features import plot_features
from mupi.data import load
from mupi.figures.axes import FAINT, SOLID, finish, look, plain
from mupi.figures.style import color, marker, percent, shade
from mupi.training.atomic import write_figure

FIGURES = Path(__file__).parent.parent / "docs" / "figures"

Run = dict[str, Any]  # as cifar10_cnn.py writes it


def plot_curves(runs: dict[str, Run]) -> Figure:
    """Accuracy over seconds."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, (label, run) in enumerate(runs.items()):
        seconds = torch.tensor([epoch["seconds"] for epoch in run["epochs"]]).cumsum(0)
        accuracy = [100 * epoch["test_accuracy"] for epoch in run["epochs"]]
        axes.plot(seconds.numpy(), accuracy, **look(i), label=label)
    device = next(iter(runs.values()))["device"]
    axes.set(xlabel=f"seconds of training, {device}", ylabel="test accuracy, %", title="CIFAR-10, flips and shifts")
    percent(axes)
    plain(axes)
    return figure


def together(runs: Sequence[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs of each value of ``key``, in order of the values."""
    return {value: [run for run in runs if key(run) == value] for value in sorted({key(run) for run in runs})}


def comparable(runs: dict[str, Run], *varied: str) -> list[Run]:
    """The finished runs, if they differ in nothing but seed and what is ``varied``; what is left out is printed."""
    finished = []
    for name, run in runs.items():
        if len(run["epochs"]) == run["config"]["epochs"]:
            finished.append(run)
        else:
            print(f"{name} left out: only {len(run['epochs'])} of {run['config']['epochs']} epochs")
    configs = [run["config"] for run in finished]
    differ = {key for config in configs for key in config if config[key] != configs[0][key]} - {"seed", *varied}
    if differ:
        print(f"{', '.join(runs)}: left out, since they differ in {', '.join(sorted(differ))}")
        return []
    return finished


def mean_and_range(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], **look: Any) -> None:
    """A line of means over seeds and a band from least to largest; ``values`` has a row for each x."""
    axes.plot(x, [fmean(seeds) for seeds in values], markersize=4, linewidth=1.4, **look)
    low, high = [min(seeds) for seeds in values], [max(seeds) for seeds in values]
    axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def by_width(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Finite networks from narrow to wide, then the limit."""
    groups = together(runs, lambda run: run["config"]["width"] or float("inf"))
    return {"limit" if width == float("inf") else f"n = {width:,}": group for width, group in groups.items()}


def plot_transformers(runs: Sequence[Run]) -> Figure:
    """Training loss and test accuracy over epochs, one color a width and the limit in black."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    groups = by_width(runs)
    for i, (label, group) in enumerate(groups.items()):
        hue, line = ("black", "--") if label == "limit" else (shade(i, len(groups) - 1), "-")
        style: dict[str, Any] = dict(color=hue, linestyle=line, marker=marker(i), label=label)
        epochs = list(zip(*(run["epochs"] for run in group), strict=True))
        x = range(1, len(epochs) + 1)
        mean_and_range(loss, x, [[run["train_loss"] for run in seeds] for seeds in epochs], **style)
        mean_and_range(accuracy, x, [[100 * run["test_accuracy"] for run in seeds] for seeds in epochs], **style)
    images = runs[0]["config"]["train_size"]
    finish(loss, f"π-Transformers on {images:,} images", "training loss, with flips and shifts")
    finish(accuracy, "Limit and finite π-nets", "test accuracy, %")
    percent(accuracy)
    return figure


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation, the latter where there is one."""
    text = f"{fmean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text


def alignment_table(runs: Sequence[Run]) -> str:
    """Alignment of the last feature kernel with the classes, and what was reached, in Markdown; mean ± s.d."""
    lines = ["| | seeds | alignment before | after | last training loss | test accuracy, % |", "|---" * 6 + "|"]
    for label, group in by_width(runs).items():
        before, after = ([run[when]["alignment"] for run in group] for when in ("before", "after"))
        loss = [run["epochs"][-1]["train_loss"] for run in group]
        accuracy = [100 * run["epochs"][-1]["test_accuracy"] for run in group]
        cells = [label, str(len(group)), spread(before, 3), spread(after, 3), spread(loss, 3), spread(accuracy, 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def branches(run: Run) -> int:
    """L: a block of a transformer has two branches."""
    config = run["config"]
    return sum(config["blocks"]) if config["model"] == "resnet" else 2 * config["depth"]


def depth_lines(runs: dict[str, Run]) -> dict[str, dict[str, list[Run]]]:
    """For each architecture the lines of the figure: runs of one multiplier and learning rate; 1/√L first."""
    lines: dict[tuple[str, str], dict[str, Run]] = {}
    for name, run in runs.items():
        config = run["config"]
        multiplier = "1/√L" if config["branch_scale"] is None else f"{config['branch_scale']:g}"
        lines.setdefault((config["model"], f"multiplier {multiplier}, lr {config['lr']:.3g}"), {})[name] = run
    panels: dict[str, dict[str, list[Run]]] = {}
    for model, label in sorted(lines, key=lambda line: (line[0], "√" not in line[1], line[1])):
        if some := comparable(lines[model, label], "blocks", "depth"):
            panels.setdefault(model, {})[label] = some
    return panels


def plot_depth(panels: dict[str, dict[str, list[Run]]]) -> Figure:
    """Last accuracy against the number of branches, a panel for each architecture: see `depth_lines`."""
    figure = Figure(figsize=(1 + 4.2 * len(panels), 3.8), layout="constrained")
    figure.suptitle("Learning rates are the same at every depth", fontsize="medium")
    axes_of = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (model, lines) in zip(axes_of, panels.items(), strict=True):
        for i, (label, runs) in enumerate(lines.items()):
            depths = together(runs, branches)
            for which, style in (("test", dict(label=label, **SOLID)), ("train", FAINT)):
                values = [[100 * run["epochs"][-1][f"{which}_accuracy"] for run in seeds] for seeds in depths.values()]
                mean_and_range(axes, list(depths), values, color=color(i), marker=marker(i), **style)
        finish(axes, model, "accuracy, %", "test", "training, with flips and shifts")
        depths = sorted({branches(run) for runs in lines.values() for run in runs})
        axes.set(xlabel="number of branches L", xscale="log")
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.minorticks_off()
    return figure


def plot_trained_features(run: Path, data_dir: Path | None) -> Figure:
    """`plot_features` of a run's network as it was built and as it is now.

    Args:
        run: Its files, without suffix.
        data_dir: Where CIFAR-10 is; None for the usual places.
    """
    config = Config(**json.loads(run.with_suffix(".json").read_text())["config"])
    before, after = build(config), build(config)
    after.load_state_dict(torch.load(run.with_suffix(".pt"), map_location="cpu")["net"])
    assert isinstance(before, mupi.PiCNN) and isinstance(after, mupi.PiCNN)
    return plot_features(before.eval(), after.eval(), load("cifar10", data_dir))


def main(runs: Path = Path("runs/cnn"), data_dir: Path | None = None, out: Path = FIGURES) -> None:
    """Draw what there is.

    Args:
        runs: Folder of the runs.
        data_dir: Where CIFAR-10 is; None for the usual places.
        out: Folder of the figures.
    """
    torch.set_num_threads(1)
    found = {path.stem: json.loads(path.read_text()) for path in sorted(runs.glob("*.json"))}
    deep = {name: run for name, run in found.items() if name.startswith("depth-")}
    transformers = {
        name: run for name, run in found.items() if name not in deep and run["config"]["model"] == "transformer"
    }
    others = {name: run for name, run in found.items() if name not in deep | transformers}

    panels = depth_lines(deep)
    widths = comparable(transformers, "width")
    limits = [
        name
        for name, run in others.items()
        if run["config"]["model"] == "cnn" and not run["config"]["width"] and (runs / f"{name}.pt").exists()
    ]

    def save(name: str, figure: Figure | None) -> None:
        if figure is None:
            print(f"{name} not drawn: no runs for it in {runs}")
        else:
            for suffix in (".png", ".svg"):
                write_figure((out / name).with_suffix(suffix), figure)

    out.mkdir(parents=True, exist_ok=True)
    save("cifar10_depth.png", plot_depth(panels) if panels else None)
    save("cifar10_transformer.png", plot_transformers(widths) if widths else None)
    save("cifar10_cnn.png", plot_curves(others) if others else None)
    save("cifar10_cnn_features.png", plot_trained_features(runs / limits[0], data_dir) if limits else None)
    if widths:
        print(alignment_table(widths))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
