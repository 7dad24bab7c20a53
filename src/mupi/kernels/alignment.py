"""`centered_alignment`: how alike two kernels are."""

from math import frexp

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, finite

ROUNDING = 1e-15
"""What is left of an entry of a constant kernel, that is at most 1, when it is centred in float64."""


@takes_numpy
def centered_alignment(k1: Float[Tensor, "n n"], k2: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """⟨K₁ᶜ, K₂ᶜ⟩/(|K₁ᶜ||K₂ᶜ|) with Kᶜ = HKH, H = I − 11ᵀ/n, in float64 (Cortes, Mohri & Rostamizadeh 2012).

    1 for kernels that are equal up to a factor and a shift of the features; with K₂ = yyᵀ of labels, how well the
    kernel's features are suited to them. It is invariant to rotations and a common scale of the features (Kornblith
    et al. 2019 call it linear CKA).

    Args:
        k1: A kernel on n inputs.
        k2: Another on the same inputs.

    Raises:
        ValueError: For matrices that are not square, of one size and finite, or a kernel that is constant.
    """
    for name, k in (("k1", k1), ("k2", k2)):
        if not isinstance(k, Tensor):
            fail(f"centered_alignment({name})", "a tensor or an array of shape (n, n)", type(k).__name__)
    if k1.ndim != 2 or k1.shape != k2.shape or k1.shape[0] != k1.shape[1]:
        fail(
            "centered_alignment(k1, k2)", "two square matrices of one size", f"{tuple(k1.shape)} and {tuple(k2.shape)}"
        )
    finite("centered_alignment(k1)", k1)
    finite("centered_alignment(k2)", k2)
    a, b = _centered(k1), _centered(k2)
    norms = [float(torch.linalg.vector_norm(k)) for k in (a, b)]
    if min(norms) <= ROUNDING * len(a):
        fail("centered_alignment(k1, k2)", "kernels that differ from a constant", "a constant one")
    return (a * b).sum() / (norms[0] * norms[1])


def _centered(k: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """HKH of the kernel with entries up to 1, which neither overflows nor underflows."""
    k = k.double()
    if k.numel() and (largest := float(k.abs().max())) > 0:
        k = torch.ldexp(k, torch.tensor(-frexp(largest)[1], device=k.device))  # by a power of two: rounds nothing
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
