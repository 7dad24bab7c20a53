"""What rounding leaves of a variance k(x, x) − Σ_i β_i k(x_i, x), the difference of numbers that may be nearly equal.

An error δ of each entry of the kernel, relative to √(k(x, x) k(x', x')), moves it by about δ (k(x, x) + Σ_i β_i²
k(x_i, x_i)): measured over 200 fits in float32 against float64, by .6 of that with δ = eps in the median, and by at
most 16 (most of which is `torch.cdist`'s). A tangent kernel of a kink is known to √eps only between nearly parallel
inputs: so where the dtype is not float64 the kernel's own δ is measured, by the kernel in float64. One that takes no
float64, as a network's of parameters in float32, counts as known to √eps.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.given import Kernel, in_float64

OF_EPS = 16
"""δ in units of eps, at least, and √(1 + n/1000) times as much for the sums of a factorization of n rows."""

OF_MEASURED = 4
"""δ in units of what is measured."""

PART = 0.2
"""How far off a variance may be, relative to itself: a tenth of a deviation."""

FLOOR = 1e-10
"""And relative to k(x, x): below this a deviation, of 1e-5 √k(x, x), counts as 0."""

ROWS = 64
"""Pairs whose kernel is computed at a time: in a square, of which the diagonal is looked at."""

SAMPLES = 256
"""On how many samples, among themselves, a kernel's own rounding is measured."""


def check_variances(
    argument: str,
    variance: Float[Tensor, " m"],
    prior: Float[Tensor, " m"],
    spread: Float[Tensor, " m"] | float,
    rounding: Float[Tensor, " m"] | float,
    off: Float[Tensor, " m"] | None = None,
    advice: str | None = None,
) -> None:
    """Raise ``ValueError`` if rounding decides on a variance.

    Args:
        argument: What errors name.
        variance: What came out.
        prior: k(x, x).
        spread: Σ_i β_i² k(x_i, x_i).
        rounding: δ, relative to k(x, x).
        off: The error, if not δ (k(x, x) + spread).
        advice: What errors say to do, if not `hint`.
    """
    off = rounding * (prior + spread) if off is None else off
    allowed = torch.maximum(PART * variance, FLOOR * prior)
    wrong = ~((off <= allowed) & (variance >= -allowed.abs()))
    if wrong.any():
        i = int(wrong.nonzero()[0])
        size = f"{float(variance[i]):.2g} ± {float(off[i]):.2g} beside k(x, x) = {float(prior[i]):.2g}"
        got = f"{variance.dtype}, with one of {size}"
        fail(argument, "of a dtype that resolves variances", got, advice or hint(variance.dtype))


def hint(dtype: torch.dtype) -> str:
    """What to do about a variance that is lost."""
    return "use a larger ridge" if dtype == torch.float64 else "fit X.double(), or use a larger ridge"


def least_rounding(n: int, dtype: torch.dtype) -> float:
    """δ of a kernel that is known to a few eps, and of a factorization of n rows."""
    return OF_EPS * torch.finfo(dtype).eps * (1 + n / 1000) ** 0.5


def unknown_rounding(n: int, dtype: torch.dtype) -> float:
    """δ of a kernel that takes no float64, so that nothing can be measured: √eps, as of a kink, and of n rows."""
    least = least_rounding(n, dtype)
    return least if dtype == torch.float64 else max(least, torch.finfo(dtype).eps ** 0.5)


def pair_rounding(
    kernel: Kernel,
    new: Float[Tensor, "m d"],
    trained: Float[Tensor, "n d"],
    cross: Float[Tensor, "n m"],
    weights: Float[Tensor, "n m"],
    prior: Float[Tensor, " m"],
    size: float,
) -> Float[Tensor, " m"]:
    """δ of each new input: measured at the sample that says most about it, the largest |β_i k(x_i, x)|."""
    least = torch.full_like(prior, least_rounding(len(trained), prior.dtype))
    if prior.dtype == torch.float64 or not len(new):
        return least
    unknown = torch.full_like(prior, unknown_rounding(len(trained), prior.dtype))
    telling = (weights * cross).abs().argmax(0)
    parts = []
    for rows, at in zip(torch.arange(len(new)).split(ROWS), telling.split(ROWS), strict=True):
        exact = in_float64(kernel, new[rows], trained[at])
        if exact is None:
            return unknown
        parts.append(exact.diagonal() - cross[at, rows.to(at)])
    scale = (prior * size).sqrt().clamp_min(torch.finfo(prior.dtype).tiny)
    return torch.maximum(least, OF_MEASURED * (torch.cat(parts).abs() / scale).to(prior))


def entry_rounding(kernel: Kernel, X: Float[Tensor, "n d"]) -> float:
    """δ of a kernel's entries: measured among some of the samples, the largest."""
    least = least_rounding(len(X), X.dtype)
    if X.dtype == torch.float64:
        return least
    some = X[:: max(1, -(-len(X) // SAMPLES))]
    exact = in_float64(kernel, some, some)
    if exact is None:
        return unknown_rounding(len(X), X.dtype)
    root = exact.diagonal().clamp_min(0).sqrt().clamp_min(torch.finfo(X.dtype).tiny)
    off = float(((kernel(some, some) - exact).abs() / (root[:, None] * root)).max())
    return max(least, OF_MEASURED * off)
