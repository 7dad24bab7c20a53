"""What rounding leaves of A(x) = k(x, X) U g(λ) Uᵀ, by which a kernel's dynamics predict.

An error δ of each entry of k, in units of its mean diagonal s, is an error δ s of each in the eigenvectors U too, and
moves the j-th entry of a = A(x) U by δ s (1 + |a|) g_j (the derivative of 1/λ is −1/λ²; other filters move by less).
Eigenvalues below the rounding error n·eps·λ_max count as 0: what they may hide is what a filter makes of them at that
size, taken fourfold, where k(x, X) sees them at all. A descent that grows without end is not looked at.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail

HIDDEN = 4
"""How much of the change that eigenvalues at the size of the rounding error make is taken for an error."""

PART_OF_MEAN = 0.05
"""How far off means may be, by root mean squares, relative to themselves or the targets."""

NOISE = 8
"""A product of k(x, X) with an eigenvector is 0 up to so many eps √n s."""

PROBES = 16
"""Random signs from which |a| is estimated, to a sixth over all rows."""


def at_rounding(eigenvalues: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The eigenvalues, with those that count as 0 as large as they may be."""
    size = rounding_of(eigenvalues)
    return torch.where(eigenvalues > 0, eigenvalues, size)


def rounding_of(eigenvalues: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """n·eps·λ_max, of ascending eigenvalues."""
    return len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues[-1].clamp_min(0)


def converges(eigenvalues: Float[Tensor, " n"], g: Float[Tensor, " n"]) -> bool:
    """Whether a filter learns between nothing and twice its targets in each direction."""
    return bool(((eigenvalues * g).abs() <= 2).all())


def faint(
    cross: Float[Tensor, "m n"], vectors: Float[Tensor, "n n"], change: Float[Tensor, " n"], size: float
) -> Float[Tensor, "m n"]:
    """k(x, X) U in float64, where a filter changes, and 0 of what rounding may have made of 0.

    Args:
        cross: k(x, X).
        vectors: Eigenvectors U.
        change: What hidden eigenvalues change of a filter.
        size: The mean of k(X_i, X_i).
    """
    at = change != 0
    inside = torch.zeros_like(cross, dtype=torch.float64)
    seen = cross @ vectors[:, at]
    noise = NOISE * torch.finfo(cross.dtype).eps * len(change) ** 0.5 * size
    inside[:, at] = torch.where(seen.abs() > noise, seen, 0).double()
    return inside


def check_mean(
    argument: str,
    mean: Float[Tensor, "m ..."],
    cross: Float[Tensor, "m n"],
    vectors: Float[Tensor, "n n"],
    filters: tuple[Float[Tensor, " n"], Float[Tensor, " n"]],
    targets: Float[Tensor, "n ..."],
    rounding: float,
    size: float,
) -> None:
    """Raise ``ValueError`` if rounding may move means by more than a twentieth.

    Args:
        argument: What errors name.
        mean: A(x) Y of each input.
        cross: k(x, X).
        vectors: Eigenvectors U.
        filters: g of the eigenvalues, and of `at_rounding`.
        targets: Uᵀ Y.
        rounding: Relative rounding δ of the kernel.
        size: Size s of the kernel's diagonal.
    """
    g, hidden = filters
    if not mean.numel():
        return
    targets = targets.reshape(len(g), -1)
    signs = 2 * torch.randint(0, 2, (len(g), PROBES), generator=torch.Generator().manual_seed(0)) - 1
    probed = (cross @ (vectors @ (g[:, None] * signs.to(g)))).double()
    lost = faint(cross, vectors, hidden - g, size) @ ((hidden - g)[:, None] * targets).double()
    error = rounding * size
    spread = error * (1 + _rms(probed)) * float((g[:, None] * targets).double().square().sum(0).mean().sqrt())
    off, most = HIDDEN * _rms(lost) + spread, PART_OF_MEAN * max(_rms(mean.double()), _rms(targets.double()))
    if not off <= most:
        got = f"{mean.dtype}, with means of size {_rms(mean.double()):.2g} ± {off:.2g}"
        fail(argument, "of a dtype that resolves means", got, hint(mean.dtype))


def variance_error(
    kernel_error: float | Float[Tensor, " m"],
    initial_error: float,
    prior: Float[Tensor, " m"],
    size: float,
    part: Float[Tensor, "m n"],
    slope: Float[Tensor, "m n"],
    g: Float[Tensor, " n"],
) -> Float[Tensor, " m"]:
    """By how much rounding may move N(x, x) − 2 a·b + a·N a, with b and N in the eigenvectors.

    Args:
        kernel_error: δ s of k.
        initial_error: δ of N.
        prior: N(x, x).
        size: The mean of N(X_i, X_i).
        part: a of each input.
        slope: N a − b of each input: half the derivative by a.
        g: The filter.
    """
    norm = torch.linalg.vector_norm(part, dim=1)
    by_kernel = 2 * kernel_error * (1 + norm) * torch.linalg.vector_norm(slope * g, dim=1)
    return initial_error * (prior + size * norm.square()) + by_kernel


def hint(dtype: torch.dtype) -> str:
    """What to do about what is lost."""
    return "ask for an earlier time" if dtype == torch.float64 else "fit X.double(), or ask for an earlier time"


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
