"""What a convolutional π-limit has learned: filters of the first layer, and images in two principal components.

    python benchmarks/cnn_features.py RUN [--out docs/figures/cifar10_cnn_features.png]

RUN is a folder of `mupi train --arch cnn --dataset cifar10`; what the network was before training its configuration
says.
"""

from pathlib import Path

import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

import mupi
from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import independent_generators
from mupi.commands.train.restore import restore
from mupi.commands.train.run import read_config
from mupi.data import Dataset
from mupi.figures.style import color, marker
from mupi.training.atomic import write_figure

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "cifar10_cnn_features.png"

SHOWN = 500
"""Test images."""


@torch.no_grad()
def junctions(net: mupi.PiCNN, x: Tensor) -> list[Tensor]:
    """g of each layer averaged over positions, one row an image."""
    return [g.flatten(1, 2).mean(1) for g in net.hidden(x)]


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
    """Filters of the first layer, and two principal components of each layer's g, a color and a marker for each class.

    Args:
        before: The network before training, for evaluation.
        after: The same network after it.
        data: Whose first test images are shown.
    """
    x, y = data.test_x[:SHOWN], data.test_y[:SHOWN]
    figure = Figure(figsize=(2.2 * (2 + len(before.pi_layers)), 5.6), layout="constrained")
    axes = figure.subplots(2, 1 + len(before.pi_layers))
    for row, (net, when) in enumerate(((before, "before"), (after, "after"))):
        axes[row, 0].imshow(principal_filters(net).numpy())
        axes[row, 0].set(title=f"filters, {when}", xticks=[], yticks=[])
        axes[row, 0].spines[:].set_visible(False)
        for i, g in enumerate(junctions(net, x)):
            centered = g - g.mean(0)
            scores = centered @ torch.linalg.svd(centered, full_matrices=False).Vh[:2].T
            for k, name in enumerate(data.classes):
                look = dict(color=color(k), marker=marker(k), s=11, linewidth=0)
                axes[row, i + 1].scatter(*scores[y == k].T.numpy(), **look, label=name)
            axes[row, i + 1].set(title=f"layer {i + 1}, {when}", xticks=[], yticks=[])
            axes[row, i + 1].spines[["top", "right"]].set_visible(False)
    handles, names = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names) // 2, frameon=False, markerscale=1.6)
    return figure


def main(run: tyro.conf.Positional[Path], out: Path = FIGURE, data_dir: Path | None = None) -> None:
    """Draw.

    Args:
        run: The folder.
        out: The figure; an SVG goes beside it.
        data_dir: Where CIFAR-10 is; None for the usual places.
    """
    torch.set_num_threads(1)
    config = read_config(run).changed(runs_dir=run.parent, name=run.name, data_dir=data_dir)
    after, data = restore(config)
    _, for_net = independent_generators(config.seed, 2)
    before = build_architecture(config, data, for_net).eval()
    if not (isinstance(before, mupi.PiCNN) and isinstance(after, mupi.PiCNN)):
        raise SystemExit(f"{run} is of no convolutional π-limit")
    figure = plot_features(before, after, data)
    for path in (out, out.with_suffix(".svg")):
        write_figure(path, figure)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
