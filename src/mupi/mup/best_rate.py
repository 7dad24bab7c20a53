"""The best learning rate of a loss that was measured at some rates: a local parabola around the minimum."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int

CAP = math.log(2.0)
"""Losses of more than twice the least one are cut off there: how steep the walls are says nothing of the minimum."""

REACH = 2.0
"""Octaves to both sides of the minimum beyond which a loss has no weight in the fit."""

MOST_ITERATIONS = 60


def best_octave(
    octaves: Float[np.ndarray, " rates"], log_losses: Float[np.ndarray, "... rates"]
) -> Float[np.ndarray, "..."]:
    """Where a smooth curve through the log losses is least, in the same octaves.

    A parabola is fitted by weighted least squares, with tricube weights that reach two octaves (or two steps of the
    grid) to both sides of its own vertex, where it then lies anew until it stays (Cleveland 1979, for the weights). So
    when a curve moves along the axis its minimum moves as much, whatever its shape: the difference of two minima has no
    bias from what both curves share, and that of a curve between grid points .03 steps at the most.

    Rates at which training diverged do not enter; the minimum lies at or below the largest rate before them.

    Args:
        octaves: Base-2 logarithms of the rates, increasing.
        log_losses: Logarithms of the losses, infinite where training diverged; some rate of each curve must have one.
    """
    finite = np.isfinite(log_losses)
    losses = np.where(finite, log_losses, np.inf)
    least = losses.min(-1, keepdims=True)
    capped = np.where(finite, np.minimum(losses, least + CAP), 0.0)
    start = np.asarray(np.argmin(losses, -1))
    last = octaves[last_before_divergence(finite, start)]
    reach = max(REACH, 2.25 * float(np.diff(octaves).max()))
    center = octaves[start]
    for _ in range(MOST_ITERATIONS):
        d = octaves - center[..., None]
        weights = np.clip(1 - np.abs(d / reach) ** 3, 0, None) ** 3 * finite
        powers = np.stack([np.ones_like(d), d, d * d], -1)
        normal = np.einsum("...r,...ri,...rj->...ij", weights, powers, powers) + 1e-9 * np.eye(3)
        right = np.einsum("...r,...ri,...r->...i", weights, powers, capped)
        _, slope, bend = np.moveaxis(np.linalg.solve(normal, right[..., None])[..., 0], -1, 0)
        # Where the curve bends down there is no vertex: downhill, by at most a damped octave, as everywhere.
        step = np.where(bend > 1e-9, -slope / (2 * np.maximum(bend, 1e-9)), -np.sign(slope))
        moved = np.clip(center + 0.7 * np.clip(step, -1, 1), octaves[0], last)
        done = np.abs(moved - center).max() < 1e-3
        center = moved
        if done:
            break
    return np.asarray(center)


def last_before_divergence(
    finite: Bool[np.ndarray, "... rates"], start: Int[np.ndarray, "..."]
) -> Int[np.ndarray, "..."]:
    """The index of the largest rate that is reached from ``start`` without a diverged one between.

    Args:
        finite: Whether training did not diverge.
        start: An index of a rate, for each curve.
    """
    rates = finite.shape[-1]
    diverged_above = ~finite & (np.arange(rates) > start[..., None])
    return np.asarray(np.where(diverged_above.any(-1), diverged_above.argmax(-1), rates) - 1)


def loss_at(octaves: Float[np.ndarray, " rates"], log_losses: Float[np.ndarray, " rates"], octave: float) -> float:
    """The log loss at a rate between those that were measured, by cubics (Akima 1970); infinite beside a diverged one.

    Args:
        octaves: Base-2 logarithms of the rates, increasing.
        log_losses: Logarithms of the losses, infinite where training diverged.
        octave: Base-2 logarithm of the rate, within those.
    """
    from scipy.interpolate import Akima1DInterpolator  # here, as its import takes long

    k = int(np.clip(np.searchsorted(octaves, octave, side="right") - 1, 0, len(octaves) - 2))
    weight = (octave - octaves[k]) / (octaves[k + 1] - octaves[k])
    if weight <= 1e-9 or weight >= 1 - 1e-9:
        return float(log_losses[k + (weight > 0.5)])
    if not np.isfinite(log_losses[[k, k + 1]]).all():
        return math.inf
    finite = np.isfinite(log_losses)
    if finite.sum() < 3:
        return float((1 - weight) * log_losses[k] + weight * log_losses[k + 1])
    return float(Akima1DInterpolator(octaves[finite], log_losses[finite])(octave))
