"""A closed form near a function: its kinks, or a smooth step or bend with its asymptotes."""

from collections.abc import Callable

import torch
from torch import Tensor

from mupi.activations.activation import Activation
from mupi.activations.error_function import GELU, Erf
from mupi.activations.function_check import slope_of
from mupi.activations.kinks import kinks_of
from mupi.activations.scaled import Scaled

Function = Callable[[Tensor], Tensor]


def nearest_closed_form(function: Function, argument: str) -> Activation:
    """A part b of a function with closed expectations, whose rest has small Hermite coefficients of high degree.

    The kinks, if it has any. Else, if the function becomes α_± x + β_± far out, the bend (α_+ − α_−) x Φ(x/τ), or, if
    the slopes are equal, the step ½(β_+ − β_−) erf(x/τ), of the width τ with which the slopes fit best: seen from far
    away, at large scales, they are kinks and jumps too.

    Raises:
        ValueError: If the function jumps.
    """
    kinks = kinks_of(function, argument)
    if kinks.kinks:
        return kinks
    far = torch.tensor([30.0, 60.0, 120.0, 240.0], dtype=torch.float64)
    ends = []
    for x in (-far, far):
        slopes, values = slope_of(function)(x), function(x)
        if not torch.isfinite(values).all() or (slopes - slopes[-1]).abs().max() > 1e-3 * (1e-3 + slopes[-1].abs()):
            return kinks
        ends.append((float(slopes[-1]), float(values[0] - slopes[-1] * x[0])))
    (α_left, β_left), (α_right, β_right) = ends
    if abs(α_right - α_left) > 1e-6:
        candidates = [Scaled(GELU(), 1 / τ, (α_right - α_left) * τ) for τ in _widths()]
        straight = α_left
    elif abs(β_right - β_left) > 1e-6:
        candidates = [Scaled(Erf(), 1 / τ, (β_right - β_left) / 2) for τ in _widths()]
        straight = α_left
    else:
        return kinks
    x = torch.cat([torch.linspace(-r, r, 801, dtype=torch.float64) for r in (1.0, 30.0)])
    slope = slope_of(function)(x) - straight
    return min(candidates, key=lambda b: float((slope_of(b)(x) - slope).square().sum()))


def _widths() -> list[float]:
    return (1.15 ** torch.arange(-35, 25, dtype=torch.float64)).tolist()
