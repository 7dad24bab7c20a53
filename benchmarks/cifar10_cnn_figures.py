"""Figures of the runs that `cifar10_cnn.py` has written.

    python benchmarks/cifar10_cnn_figures.py [--runs runs/cnn] [--data-dir DIR]

docs/figures/cifar10_cnn.png: accuracy over seconds of training, of runs that are not called depth-…;
cifar10_depth.png: accuracy against depth with and without 1/√L, of those that are;
cifar10_cnn_features.png: of the run called limit, filters of the first layer, and the principal components of the
features of each layer, before and after training.
"""

import json
from pathlib import Path
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

import mupi
from cifar10_cnn import Config, build
from mupi.data import Dataset, load

FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def plot_curves(runs: dict[str, Any]) -> Figure:
    """Accuracy over seconds."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, run in runs.items():
        seconds = torch.tensor([epoch["seconds"] for epoch in run["epochs"]]).cumsum(0)
        accuracy = [100 * epoch["test_accuracy"] for epoch in run["epochs"]]
        axes.plot(seconds.numpy(), accuracy, marker="o", markersize=3, label=label)
    device = next(iter(runs.values()))["device"]
    axes.set(xlabel=f"seconds of training, {device}", ylabel="test accuracy, %", title="CIFAR-10, flips and shifts")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return figure


def plot_depth(runs: dict[str, Any]) -> Figure:
    """Last accuracy against the number of blocks, a line for each architecture and branch multiplier."""
    lines: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for run in runs.values():
        config = run["config"]
        depth = sum(config["blocks"]) if config["model"] == "resnet" else config["depth"]
        scaled = config["branch_scale"] is None
        lines.setdefault((config["model"], scaled), []).append((depth, 100 * run["epochs"][-1]["test_accuracy"]))
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for (model, scaled), points in sorted(lines.items()):
        label = f"{model}, {'1/√L' if scaled else 'multiplier 1'}"
        style: dict[str, Any] = dict(color=f"C{model == 'transformer':d}", linestyle="-" if scaled else "--")
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=label, **style)
    axes.set(xlabel="depth", ylabel="test accuracy, %", title="Learning rates unchanged with depth", xscale="log")
    depths = sorted({depth for points in lines.values() for depth, _ in points})
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return figure


@torch.no_grad()
def junctions(net: mupi.PiCNN, x: Tensor) -> list[Tensor]:
    """g of each layer averaged over positions, one row an image."""
    return [g.flatten(1, 2).mean(1) for g in net.eval().hidden(x)]


@torch.no_grad()
def principal_filters(net: mupi.PiCNN) -> Tensor:
    """The first 16 right singular vectors of the first layer, as tiles of one picture: r itself may be rotated."""
    weight = net.input.weight
    channels, size = weight.shape[1:3]
    filters = torch.linalg.svd(weight.flatten(1), full_matrices=False).Vh[:16].reshape(-1, channels, size, size)
    filters = filters / filters.abs().amax((1, 2, 3), keepdim=True) / 2 + 0.5
    tiles = filters.reshape(4, 4, channels, size, size).permute(0, 3, 1, 4, 2)
    tiles = torch.nn.functional.pad(tiles, (0, 0, 0, 1, 0, 0, 0, 1), value=1.0)
    return tiles.reshape(4 * (size + 1), 4 * (size + 1), channels)


def plot_features(before: mupi.PiCNN, after: mupi.PiCNN, data: Dataset) -> Figure:
    """Filters of the first layer, and two principal components of each layer's g, coloured by class."""
    x, y = data.test_x[:500], data.test_y[:500]
    figure = Figure(figsize=(2.2 * (2 + len(before.pi_layers)), 5.2), layout="constrained")
    axes = figure.subplots(2, 1 + len(before.pi_layers))
    for row, (net, when) in enumerate(((before, "before"), (after, "after"))):
        axes[row, 0].imshow(principal_filters(net).numpy())
        axes[row, 0].set(title=f"principal filters, {when}", xticks=[], yticks=[])
        for i, g in enumerate(junctions(net, x)):
            centred = g - g.mean(0)
            scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
            axes[row, i + 1].scatter(*scores.T.numpy(), c=y.numpy(), cmap="tab10", s=5)
            axes[row, i + 1].set(title=f"g{'¹²³⁴⁵⁶⁷⁸⁹'[i]}, {when}", xticks=[], yticks=[])
    return figure


def main(runs: Path = Path("runs/cnn"), data_dir: Path | None = None) -> None:
    """Draw what there is.

    Args:
        runs: Folder of the runs.
        data_dir: Where CIFAR-10 is; None for the usual places.
    """
    torch.set_num_threads(1)
    found = {path.stem: json.loads(path.read_text()) for path in sorted(runs.glob("*.json"))}
    depth = {name: run for name, run in found.items() if name.startswith("depth-")}
    others = {name: run for name, run in found.items() if name not in depth}
    if others:
        plot_curves(others).savefig(FIGURES / "cifar10_cnn.png", dpi=150)
    if depth:
        plot_depth(depth).savefig(FIGURES / "cifar10_depth.png", dpi=150)
    if "limit" in found:
        config = Config(**found["limit"]["config"])
        before, after = build(config), build(config)
        after.load_state_dict(torch.load(runs / "limit.pt", map_location="cpu")["net"])
        assert isinstance(before, mupi.PiCNN) and isinstance(after, mupi.PiCNN)
        figure = plot_features(before, after, load("cifar10", data_dir))
        figure.savefig(FIGURES / "cifar10_cnn_features.png", dpi=150)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
