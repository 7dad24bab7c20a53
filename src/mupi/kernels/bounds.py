"""What every kernel must satisfy, checked on what came out: no number is better than a wrong one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail

FLOAT64_RANGE = (1e-150, 1e150)
"""Variances in float64 whose products neither under- nor overflow; in float32 they are taken in float64."""

HINT = "scale the inputs, or use float64"


def check_sizes(
    argument: str,
    dtype: torch.dtype,
    moments: Sequence[tuple[Tensor, Tensor]],
    variances: Sequence[Tensor],
) -> None:
    """Raise ``ValueError`` unless moments of inputs, and variances of layers, are numbers that a dtype can work with.

    Args:
        argument: The inputs as the caller knows them.
        dtype: The dtype.
        moments: Mean squares that weights without bias read, and where what they read is not 0.
        variances: Those of layers.
    """
    info = torch.finfo(dtype)
    low, high = FLOAT64_RANGE if dtype == torch.float64 else (info.tiny, info.max)
    for i, values in enumerate([*(moment for moment, _ in moments), *variances]):
        values = values.detach()
        wrong = ~((values == 0) | ((values >= low) & (values <= high)))
        if i < len(moments):
            wrong |= (values == 0) & moments[i][1]
        if wrong.any():
            fail(
                argument,
                f"of a size whose mean square, and variance in each layer, is 0 or {low:.0e} to {high:.0e} as {dtype}",
                f"{float(values[wrong][0]):.3g}",
                HINT,
            )


def check_diagonal(argument: str, diagonal: Float[Tensor, " n"]) -> None:
    """Raise ``ValueError`` if some k(x, x) is not finite, or negative beyond rounding."""
    diagonal = diagonal.detach()
    if not diagonal.numel():
        return
    wrong = ~((diagonal >= -1000 * _rounding(diagonal)) & torch.isfinite(diagonal))
    if wrong.any():
        fail(
            argument,
            f"of a size at which k(x, x) is finite and ≥ 0 in {diagonal.dtype}",
            f"k(x, x) = {float(diagonal[wrong][0]):.3g}",
            HINT,
        )


def bound_root(diagonal: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """√k(x, x) with a slack for rounding, whose products bound entries."""
    diagonal = diagonal.detach()
    return (diagonal.clamp_min(0) + _rounding(diagonal)).sqrt() if diagonal.numel() else diagonal


def check_entries(
    argument: str,
    entries: Float[Tensor, "n m"],
    root_1: Float[Tensor, " n"],
    root_2: Float[Tensor, " m"],
) -> None:
    """Raise ``ValueError`` unless |k(x, x')| ≤ √(k(x, x) k(x', x')), to √eps, for roots of the diagonals."""
    entries, root_1 = entries.detach(), (1 + torch.finfo(entries.dtype).eps ** 0.5) * root_1
    # Comparisons of all entries take ten times as long as this; a NaN is no number ≤ 0 either.
    if entries.numel() and not torch.addr(entries.abs(), root_1, root_2, alpha=-1).amax() <= 0:
        bound = root_1[:, None] * root_2
        wrong = ~(entries.abs() <= bound)
        if wrong.any():
            fail(
                argument,
                f"of a size at which |k(x, x')| ≤ √(k(x, x) k(x', x')) in {entries.dtype}",
                f"{float(entries[wrong][0]):.3g} beside a bound of {float(bound[wrong][0]):.3g}",
                HINT,
            )


def _rounding(diagonal: Tensor) -> Tensor:
    """The rounding error of the largest."""
    return torch.finfo(diagonal.dtype).eps * diagonal.abs().max()
