"""Few-shot accuracy over meta-training and over width, and classes in the plane of their principal components."""

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from torch import Tensor

from mupi.figures.axes import FAINT, SOLID, Numbers, look, plain
from mupi.figures.names import called
from mupi.figures.style import color, level, marker, percent


def titled(settings: Mapping[str, Any]) -> str:
    """What figures call the model that a run of these settings trains: with its width, and a kernel's φ if linear."""
    linear = settings["model"] in ("nngp", "ntk") and settings.get("linear")
    width = settings.get("width")
    parts = [called(settings["model"]), *(["linear"] if linear else []), *([f"n = {width:,}"] if width else [])]
    return ", ".join(parts)


def plot_few_shot_curves(runs: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw training and validation accuracy over the steps of meta-training.

    Args:
        runs: By its label what each run measured, a number a validation: ``batch``, ``train_accuracy`` and
            ``validation_accuracy``.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for i, (label, run) in enumerate(runs.items()):
        axes.plot(run["batch"], 100 * np.asarray(run["train_accuracy"]), **look(i), **FAINT)
        axes.plot(run["batch"], 100 * np.asarray(run["validation_accuracy"]), **look(i), **SOLID, label=label)
    axes.set(title="Accuracy on validation tasks (dashed: in training)", xlabel="batches of meta-training", ylabel="%")
    percent(axes)
    plain(axes)
    return figure


def plot_width(widths: Mapping[int, Sequence[float]], limits: Mapping[str, Sequence[float]]) -> Figure:
    """Draw test accuracy over width, with infinite widths as lines (figure 4 of Yang & Hu 2021).

    Args:
        widths: For each width the accuracies of its seeds, 0 to 1.
        limits: The same for each limit, by its name.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    if widths:
        n = sorted(widths)
        mean = [100 * sum(widths[k]) / len(widths[k]) for k in n]
        spread = [100 * stdev(widths[k]) if len(widths[k]) > 1 else 0.0 for k in n]
        axes.errorbar(n, mean, spread, fmt="o-", color=color(0), capsize=3, label="finite width")
    for i, (label, values) in enumerate(limits.items()):
        axes.axhline(100 * sum(values) / len(values), **level(i, drawn=1), label=label)
    axes.set(title="Test accuracy by width", xlabel="width", ylabel="% (bars: ± 1 s.d. over seeds)")
    axes.margins(y=0.1)
    percent(axes)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(widths), [f"{n:,}" for n in sorted(widths)])
    plain(axes)
    return figure


def principal_components(kernel: Float[Tensor, "n n"], components: int = 2) -> Float[Tensor, "n components"]:
    """Coordinates of n points along their principal components, from the points' inner products.

    For infinitely wide representations it is PCA of the representations themselves.
    """
    kernel = kernel.double()
    centered = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    values, vectors = torch.linalg.eigh((centered + centered.T) / 2)
    return (vectors * values.clamp_min(0).sqrt())[:, -components:].flip(1)


def plot_classes(kernels: Mapping[str, Float[Tensor, "n n"]], labels: Int64[Tensor, " n"]) -> Figure:
    """Draw images of a few classes in the plane of the first two components, a panel for each kernel (figure 1 of [B]).

    Args:
        kernels: Inner products of the representations of the same images, by the panels' titles.
        labels: The images' classes, by which they are colored, with a marker each.
    """
    figure = Figure(figsize=(3 * len(kernels), 3.2), layout="constrained")
    for axes, (title, kernel) in zip(figure.subplots(1, len(kernels), squeeze=False)[0], kernels.items(), strict=True):
        x, y = principal_components(kernel).T
        for i, label in enumerate(labels.unique().tolist()):
            of_class = labels == label
            axes.scatter(x[of_class], y[of_class], color=color(i), marker=marker(i), s=14, label=f"class {i + 1}")
        axes.set(title="\n".join(title.rsplit(", ", 1)), xticks=[], yticks=[])
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize="small")
    return figure
