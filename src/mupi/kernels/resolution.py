"""Where rounding of variances and inner products hides what an activation with a scale of its own sees of an angle.

Between Gaussians of variance v whose correlation is 1 − t, the moments of such an activation (all but rectifiers and
polynomials) depend on v·t, however large v: erf becomes a step, whose slopes meet only where v·t is small. Rounding
moves t by eps, so it moves v·t by v·eps.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mupi.activations import Activation
from mupi.checks import fail, is_eager

MOST = 1e-5
"""v·eps up to which a dtype will do; `snap_parallel` makes up to 16 times as much of it."""

UNRESOLVED = 1e-3
"""Relative differences between results that rounding cannot tell apart, from which on there is none."""


def is_coarse(φ: Activation, variances: Sequence[Float[Tensor, "..."]]) -> bool:
    """Whether the dtype of the variances rounds them by more than φ allows; unless float64, yes where none is seen."""
    if φ.scale_free:
        return False
    eps = torch.finfo(variances[0].dtype).eps
    if not is_eager(variances[0]):
        return variances[0].dtype != torch.float64
    return not all(float(v.detach().amax()) * eps <= MOST for v in variances if v.numel())


def unresolved(
    entries: Float[Tensor, "n m"],
    moved: Float[Tensor, "n m"],
    diagonal_1: Float[Tensor, " n"],
    diagonal_2: Float[Tensor, " m"],
) -> Bool[Tensor, "n m"]:
    """Where entries of a kernel, and those of angles that rounding cannot tell from theirs, are not the same."""
    bound = diagonal_1.clamp_min(0).sqrt()[:, None] * diagonal_2.clamp_min(0).sqrt()
    return ~((entries - moved).abs() <= UNRESOLVED * bound)


def check_only_equal(
    argument: str, at: Bool[Tensor, "n m"], x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"], sigma_b: float
) -> None:
    """Raise ``ValueError`` if entries are unresolved ``at`` inputs that differ.

    Between equal ones the angle is known, and between opposite ones if σ_b = 0.
    """
    for pairs in at.nonzero().split(256):
        first, second = (x[i] for x, i in zip((x1, x2), pairs.T, strict=True))
        known = (first == second).all(1)
        if sigma_b == 0:
            known |= (first == -second).all(1)
        if not known.all():
            fail_unresolved(argument)


def fail_unresolved(argument: str) -> None:
    """Raise ``ValueError``."""
    fail(
        argument,
        "inputs whose angles float64 resolves at their size",
        "some so nearly parallel, and so large, that rounding decides on k(x, x')",
        "scale the inputs",
    )
