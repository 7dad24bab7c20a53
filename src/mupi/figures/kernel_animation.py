"""Matrices that change with time, side by side: an animation, and some of its pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

Kernels = Mapping[str, Float[Tensor, "times n n"]]
"""A matrix at each time, by title."""

DPI, COLORS = 80, 64
"""Of the animation: enough for it, and few, so that the file is small."""


def animate_kernels(path: Path, kernels: Kernels, milliseconds: int = 200) -> None:
    """Write a GIF that goes through the times, and stays at the last for a while.

    Args:
        path: The file.
        kernels: As many times of each.
        milliseconds: How long each time is shown.
    """
    figure = Figure(figsize=(2.6 * len(kernels), 3.1), layout="constrained", dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    top, times = _top(kernels), len(next(iter(kernels.values())))
    shown: list[AxesImage] = []
    for axes, (title, matrices) in zip(np.atleast_1d(figure.subplots(1, len(kernels))), kernels.items(), strict=True):
        shown.append(axes.imshow(matrices[0].numpy(), cmap="RdBu_r", vmin=-top, vmax=top))
        axes.set(title=title, xticks=[], yticks=[])
    frames = []
    for t in range(times):
        figure.suptitle(f"step {t}")
        for image, matrices in zip(shown, kernels.values(), strict=True):
            image.set_data(matrices[t].numpy())
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLORS))
    durations = [milliseconds] * (times - 1) + [8 * milliseconds]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def plot_kernels(kernels: Kernels, pictures: int = 4) -> Figure:
    """A row for each, with a column for each of some times.

    Args:
        kernels: As many times of each.
        pictures: How many times are shown.
    """
    times = len(next(iter(kernels.values())))
    chosen = np.unique(np.linspace(0, times - 1, pictures).round().astype(int))
    figure = Figure(figsize=(2.2 * len(chosen) + 0.8, 2.2 * len(kernels)), layout="constrained")
    panels = figure.subplots(len(kernels), len(chosen), squeeze=False)
    top = _top(kernels)
    for row, (title, matrices) in zip(panels, kernels.items(), strict=True):
        row[0].set_ylabel(title)
        for axes, t in zip(row, chosen, strict=True):
            axes.imshow(matrices[t].numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
            axes.set(xticks=[], yticks=[])
    for axes, t in zip(panels[0], chosen, strict=True):
        axes.set_title(f"step {t}")
    figure.colorbar(panels[0, 0].images[0], ax=panels, shrink=0.6)
    return figure


def _top(kernels: Kernels) -> float:
    """The end of the color scale, the same for all."""
    return max(float(matrices.abs().max()) for matrices in kernels.values())
