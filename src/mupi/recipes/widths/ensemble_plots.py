"""Ensembles of trained networks in the bands that theory predicts, and how they get there as they widen."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import plain
from mupi.figures.style import ACCENT, REFERENCE, color, marker
from mupi.recipes.widths.trained_ensemble import Bands, Curve
from mupi.statistics import PowerLaw

SHOWN = 8
"""Networks drawn one by one."""


def plot_bands(curve: Curve, bands: Mapping[int, Bands], width: int) -> Figure:
    """A panel for each number of steps: mean ± 2 s.d. of the ensemble of infinite width, and of the networks.

    Args:
        curve: The problem.
        bands: By how many steps were taken.
        width: That of the networks.
    """
    figure = Figure(figsize=(0.8 + 3.4 * len(bands), 3.9), layout="constrained")
    panels = figure.subplots(1, len(bands), squeeze=False, sharey=True)[0]
    x = curve.angles.numpy()
    trained = np.arctan2(curve.X[:, 1].numpy(), curve.X[:, 0].numpy())
    for axes, (steps, band) in zip(panels, bands.items(), strict=True):
        mean, std = band.mean.numpy(), band.std.numpy()
        axes.fill_between(
            x, mean - 2 * std, mean + 2 * std, color=color(0), alpha=0.2, linewidth=0, label="n = ∞: ± 2 s.d."
        )
        axes.plot(x, mean, color=color(0), linewidth=2, label="n = ∞: mean")
        axes.plot(x, band.outputs[:SHOWN].numpy().T, color="0.5", linewidth=0.5, alpha=0.6)
        center, spread = band.outputs.mean(0).numpy(), 2 * band.outputs.std(0).numpy()
        label = f"{len(band.outputs)} networks, n = {width:,}: mean"
        axes.plot(x, center, color=ACCENT, linewidth=1.2, linestyle="--", label=label)
        for sign in (-1, 1):
            axes.plot(
                x, center + sign * spread, color=ACCENT, linewidth=1, linestyle=":", label="± 2 s.d." * (sign > 0)
            )
        axes.plot(trained, curve.targets.numpy(), "ko", markersize=4, label="targets")
        axes.set(title=f"after {steps:,} step{'s' * (steps != 1)}", xlabel="θ")
        plain(axes, legend=None)
    panels[0].set_ylabel("f(cos θ, sin θ)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize="small", loc="outside lower center", ncols=5
    )
    return figure


def plot_approach(laws: Sequence[PowerLaw], ratios: Mapping[str, Sequence[float]]) -> Figure:
    """On the left each network's distance from its own limit by width; on the right variances over the ensemble's.

    Args:
        laws: One for each number of steps.
        ratios: By the same names, one for each width.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    gaps, variances = figure.subplots(1, 2)
    for i, law in enumerate(laws):
        label = f"{law.part}: {law.slope:+.2f} ± {law.half_width:.2f}"
        gaps.errorbar(
            law.widths,
            law.typical_sizes,
            law.spread,
            color=color(i),
            marker=marker(i),
            markersize=3,
            linewidth=1,
            label=label,
        )
        variances.semilogx(law.widths, ratios[law.part], f"{marker(i)}-", color=color(i), markersize=3, linewidth=1)
    if laws:
        gaps.plot(laws[-1].widths, laws[-1].line(-0.5), **REFERENCE, label="slope −1/2")
    gaps.set(xscale="log", yscale="log", title="a network's distance from its own limit", xlabel="width n")
    variances.axhline(1, **REFERENCE)
    variances.set(title="variance over that of the ensemble n = ∞", xlabel="width n")
    plain(gaps)
    plain(variances, legend=None)
    return figure
