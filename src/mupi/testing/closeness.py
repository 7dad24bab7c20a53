"""Comparisons, each with a tolerance that follows from the dtype."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDINGS = 500
"""How many rounding errors a computation may gather: 1.1e-13 in float64, 6e-5 in float32."""


def tolerance(dtype: torch.dtype) -> float:
    """The relative tolerance of a dtype."""
    return ROUNDINGS * torch.finfo(dtype).eps


def assert_close(actual: Tensor, expected: Tensor, *, rtol: float | None = None, scale: float | None = None) -> None:
    """Assert that no entry is off by more than ``rtol`` times the largest entry of ``expected``.

    ``rtol`` None is the tolerance of the less precise dtype of the two; ``scale`` replaces the largest entry, where
    that is an accident (zero, say).
    """
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if rtol is None:
        rtol = max(tolerance(actual.dtype), tolerance(expected.dtype))
    actual, expected = actual.detach().double(), expected.detach().double()
    assert torch.isfinite(actual).all(), f"not finite: {actual}"
    if actual.numel() == 0:
        return
    size = float(expected.abs().max()) if scale is None else scale
    error = (actual - expected).abs()
    worst = int(error.argmax())
    assert float(error.max()) <= rtol * size, (
        f"off by {float(error.max()):.3g} = {float(error.max()) / size if size else math.inf:.3g} of the largest entry "
        f"(allowed {rtol:.3g}): got {float(actual.flatten()[worst])!r}, expected {float(expected.flatten()[worst])!r}"
    )


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    """Assert equality bit by bit."""
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, expected {expected.dtype}"
    assert torch.equal(actual, expected), f"differ by up to {(actual - expected).abs().max()}"


def fitted_slope(sizes: Sequence[int | float], errors: Sequence[int | float]) -> float:
    """The least-squares slope of log error against log size: the rate of a limit theorem."""
    x = torch.tensor(sizes, dtype=torch.float64).log()
    y = torch.tensor(errors, dtype=torch.float64).log()
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))


def root_mean_square(values: Sequence[int | float]) -> float:
    """√(mean of squares)."""
    return math.sqrt(sum(v * v for v in values) / len(values))
