"""Training in the μ-limit beside that of finite networks: loss, distance by width, feature kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from mupi.figures.axes import plain
from mupi.figures.style import ACCENT, REFERENCE, color, marker, shade
from mupi.recipes.mu_limit.trained_curves import Curves


def alignment(kernels: Float[Tensor, "times n n"], targets: Float[Tensor, " n"]) -> Float[Tensor, " times"]:
    """yᵀKy/(|K| |y|²), the cosine of a kernel and the targets' own, at each time."""
    return (kernels @ targets @ targets) / (kernels.flatten(1).norm(dim=1) * targets.square().sum())


def plot_mu_limit(curves: Curves) -> Figure:
    """Loss by step; gap by width; alignment by step; and feature kernels, images sorted by class.

    Args:
        curves: The curves of all that was trained.
    """
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    halves = figure.subfigures(2, 1, height_ratios=(1.15, 1), squeeze=False)
    above, below = halves[0, 0], halves[1, 0]
    loss, gap, align = above.subplots(1, 3)
    kernels = list(below.subplots(1, 4))
    _losses(loss, curves)
    _gaps(gap, curves)
    _alignments(align, curves)
    _kernels(below, kernels, curves)
    return figure


def _losses(axes: Axes, curves: Curves) -> None:
    for i, n in enumerate(curves.finite):
        axes.plot(curves.mean_losses(n), **_look(i, curves), label=f"n = {n:,}")
    limit, error = curves.limit["losses"].numpy(), curves.limit["loss_errors"].numpy()
    axes.plot(limit, color="black", linewidth=1.6, label="μP, n = ∞")
    axes.fill_between(np.arange(len(limit)), limit - 2 * error, limit + 2 * error, color="black", alpha=0.2)
    axes.plot(curves.ntp["losses"].numpy(), color=ACCENT, linestyle="--", linewidth=1.2, label="NTP, n = ∞")
    axes.set(title="Training loss", xlabel="step", ylabel="mean square", yscale="log")
    plain(axes, legend="x-small")


def _gaps(axes: Axes, curves: Curves) -> None:
    law, widths, gaps = curves.law, np.array(list(curves.gaps)), np.array(list(curves.gaps.values()))
    axes.loglog(widths, gaps, "o", color=color(0), label=f"{law.quantity}: {law.slope:+.2f} ± {law.half_width:.2f}")
    axes.loglog(widths, law.line(-0.5), **REFERENCE, label="slope −1/2")
    axes.axhline(curves.limit_error, color="black", linestyle=":", label="standard error of the limit")
    axes.set(title="Distance to the limit", xlabel="width n", ylabel="root mean square of f − limit")
    axes.set_xticks(widths[::2], [f"{n:,}" for n in widths[::2]])
    axes.minorticks_off()
    plain(axes, legend="x-small")


def _alignments(axes: Axes, curves: Curves) -> None:
    y = curves.targets
    for i, seeds in enumerate(curves.finite.values()):
        mean = np.mean([alignment(seed["kernels"], y).numpy() for seed in seeds], axis=0)
        axes.plot(mean, **_look(i, curves))
    axes.plot(alignment(curves.limit["kernels"], y).numpy(), color="black", linewidth=1.6)
    axes.plot(alignment(curves.ntp["kernels"], y).numpy(), color=ACCENT, linestyle="--", linewidth=1.2)
    axes.set(title="Feature kernel and classes", xlabel="step", ylabel="cosine of K and y yᵀ")
    plain(axes, legend=None)


def _kernels(figure: SubFigure, panels: Sequence[Axes], curves: Curves) -> None:
    last = len(curves.limit["kernels"]) - 1
    shown = [(f"μP, step {t}", curves.limit["kernels"][t]) for t in (0, last // 2, last)]
    shown.append((f"NTP, step {last}", curves.ntp["kernels"][last]))
    top = max(float(kernel.abs().max()) for _, kernel in shown)
    for axes, (title, kernel) in zip(panels, shown, strict=True):
        axes.imshow(kernel.numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
        axes.set(title=f"Feature kernel, {title}", xticks=[], yticks=[])
        axes.title.set_fontsize("small")
    figure.colorbar(panels[0].images[0], ax=list(panels), shrink=0.7)


def _look(i: int, curves: Curves) -> dict[str, Any]:
    """From light to dark with the width."""
    return dict(color=shade(i, len(curves.finite)), marker=marker(i), markersize=3, linewidth=1)
