"""Where the slope of a function jumps, found by bisection; a function that is linear between such places."""

from collections.abc import Callable

import torch
from torch import Tensor

from mupi.activations.function_check import name_of, slope_of
from mupi.activations.piecewise_linear import PiecewiseLinear
from mupi.checks import fail

Function = Callable[[Tensor], Tensor]

MOST_KINKS = 16
"""Those nearest to 0 are kept: a pair of kinks costs about as much as 20 Hermite degrees."""

STEPS = 60
"""Halvings of an interval, to neighbouring floats."""


def scan_points() -> Tensor:
    """Where functions are looked at: every 1/100 to 20, then in steps of 1 %, to 10⁵; no round numbers."""
    near = torch.arange(0, 20, 0.01, dtype=torch.float64) + 0.00723
    far = 20 * 1.01 ** torch.arange(860, dtype=torch.float64)
    right = torch.cat([near, far])
    return torch.cat([-right.flip(0) - 0.00111, right])


def kinks_of(function: Function, argument: str) -> PiecewiseLinear:
    """Σ Δ_i ρ_i of the kinks of a function: what is left has a continuous slope.

    Raises:
        ValueError: If the function itself jumps.
    """
    found: dict[float, float] = {}
    for _ in range(3):  # a second kink in an interval is found when the first is taken out
        kinks = PiecewiseLinear(tuple(found.items()))
        more = _jumps_of_slope(function, kinks, argument)
        if not more:
            break
        for t, change in more:
            found[t] = found.get(t, 0.0) + change
        nearest = sorted(found, key=abs)[:MOST_KINKS]
        found = {t: found[t] for t in nearest}
        if len(found) == MOST_KINKS:
            break
    return PiecewiseLinear(tuple(sorted(found.items())))


def piecewise_linear(function: Function, argument: str = "activation") -> PiecewiseLinear | None:
    """The function as a `PiecewiseLinear`, None if it is none."""
    kinks = kinks_of(function, argument)
    # Slopes from values, two points in each piece: autograd's may be rounded to float32, as those of hard sigmoid.
    places = torch.tensor([t for t, _ in kinks.kinks], dtype=torch.float64)
    reach = 1e3 + max((abs(t) for t, _ in kinks.kinks), default=0.0)
    ends = torch.cat([places.new_tensor([-reach]), places, places.new_tensor([reach])])
    low, high = ends[:-1] + ends.diff() / 4, ends[1:] - ends.diff() / 4
    slopes = (function(high) - function(low)) / (high - low)
    home = int((places < 0).sum())  # the piece at 0, left of a kink at 0
    b = float(slopes[home])
    a = float(function(low)[home] - b * low[home])
    changes = slopes.diff().tolist()
    linear = PiecewiseLinear(tuple(zip(places.tolist(), changes, strict=True)), 0.0 if abs(a) < 1e-12 else a, b)
    x = scan_points()
    expected = function(x)
    size = 1 + expected.abs() + x.abs() * (abs(b) + sum(abs(change) for _, change in kinks.kinks))
    return linear if bool(((linear(x) - expected).abs() <= 1e-13 * size).all()) else None


def _jumps_of_slope(function: Function, known: PiecewiseLinear, argument: str) -> list[tuple[float, float]]:
    """(t, Δ) in every interval of the scan that has one."""
    slope = slope_of(lambda x: function(x) - known(x))
    x = scan_points()
    values, slopes = function(x), slope(x)
    x = x[torch.isfinite(values) & torch.isfinite(slopes)]  # exp overflows far out, which is no matter of kinks
    at, low, high = _bisected(function, x, 1e-7, 1e-9)
    if len(at):
        i = int(at.abs().argmin())
        came = (
            f"{name_of(function)}, which jumps by {float(high[i] - low[i]):.3g} at {round(float(at[i]), 9) + 0.0:.4g}"
        )
        hint = "gradients and tangent kernels of a jump are infinite; take a steep continuous function"
        fail(argument, "continuous", came, hint)
    at, low, high = _bisected(slope, x, 1e-6, 1e-9)
    gap = 1e-9 * (1 + at.abs())
    # Where it is smooth, the change over a gap is that over a gap of twice the size, halved.
    near, twice = (slope(at + m * gap) - slope(at - m * gap) for m in (1, 2))
    change = 2 * near - twice
    real = change.abs() > 1e-6 * (1e-3 + slope(at + gap).abs() + slope(at - gap).abs())
    places = torch.where(at.abs() < 1e-12, torch.zeros_like(at), at)
    return list(zip(places[real].tolist(), change[real].tolist(), strict=True))


def _bisected(f: Function, x: Tensor, relative: float, absolute: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where f still changes when intervals are halved again and again, to the half over which it changes more.

    The places, and f on their two sides.
    """
    a, b = x[:-1], x[1:]
    low, high = f(a), f(b)
    for step in range(STEPS):
        if step % 4 == 0:
            left = (high - low).abs() > relative * (1e-3 + low.abs() + high.abs()) + absolute
            a, b, low, high = (t[left] for t in (a, b, low, high))
        middle = (a + b) / 2
        value = f(middle)
        left = (value - low).abs() > (high - value).abs()
        a, b = torch.where(left, a, middle), torch.where(left, middle, b)
        low, high = torch.where(left, low, value), torch.where(left, value, high)
    return (a + b) / 2, low, high
