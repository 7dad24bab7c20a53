"""What rounding leaves of A(x) = k(x, X) U g(λ) Uᵀ, by which a kernel's dynamics predict.

An error δ of each entry of k, in units of its mean diagonal s, is an error δ s of each in the eigenvectors U too, and
moves the j-th entry of a = A(x) U by δ s (1 + |a|) g_j (the derivative of 1/λ is −1/λ²; other filters move by less).
Eigenvalues below the rounding error r = n·eps·λ_max count as 0. Where k(x, X) sees one of their eigenvectors, they hide
what a filter makes of eigenvalues of that size, taken fourfold, and as much as the last ones do that are seen, up to
16 r: where those still matter, the next ones do too. What may be rounding alone counts as 0: a product with an
eigenvector, and a part of the targets Uᵀ Y. But eigenvalues of up to r may as well be learned in the end, r g(r) of
each, which training inputs see: so where the kernel takes float32 only, in which inputs may be nearly equal, or where
eigenvalues go on down to r without a gap, that is hidden too. Beyond a gap in float64 they are those of equal inputs or
of few features, 0 indeed.

The targets are known to the eps of the dtype that they came in, and move the mean by that times |a|.
A descent that grows without end is not looked at.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail

HIDDEN = 4
"""How much of the change that eigenvalues at the size of the rounding error make is taken for an error."""

LAST = 16
"""Up to how many times the rounding error eigenvalues are the last that are seen."""

GAP = 1e4
"""How many times the rounding error the least eigenvalue is, at least, where those below are 0 and not just small."""

PART_OF_MEAN = 0.05
"""How far off means may be, by root mean squares, relative to themselves or the targets."""

NOISE = 8
"""A product with an eigenvector is 0 up to so many eps times the norm of what is multiplied."""

PROBES = 16
"""Random signs from which |a| is estimated, to a sixth over all rows."""


def rounding_of(eigenvalues: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """n·eps·λ_max, of ascending eigenvalues."""
    return len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues[-1].clamp_min(0)


def converges(eigenvalues: Float[Tensor, " n"], g: Float[Tensor, " n"]) -> bool:
    """Whether a filter learns between nothing and twice its targets in each direction."""
    return bool(((eigenvalues * g).abs() <= 2).all())


def hidden_part(
    cross: Float[Tensor, "m n"],
    vectors: Float[Tensor, "n n"],
    eigenvalues: Float[Tensor, " n"],
    smallest: Float[Tensor, ""],
    own: Float[Tensor, " m"],
    size: float,
    g: Float[Tensor, " n"],
    at_smallest: Float[Tensor, ""],
) -> Float[Tensor, "m n"]:
    """How much eigenvalues that count as 0 may hide of |k(x, X) U g|, in float64.

    Args:
        cross: k(x, X).
        vectors: Eigenvectors U.
        eigenvalues: λ, where those below the rounding error are 0.
        smallest: What `rounding_of` said of them.
        own: k(x, x).
        size: The mean of k(X_i, X_i).
        g: The filter.
        at_smallest: The filter of ``smallest``.
    """
    zero, last = eigenvalues == 0, (eigenvalues > 0) & (eigenvalues <= LAST * smallest)
    inside = torch.zeros_like(cross, dtype=torch.float64)
    if not zero.any():
        return inside
    seen = (cross @ vectors[:, zero]).abs().double()
    noise = NOISE * torch.finfo(cross.dtype).eps * (len(eigenvalues) * size * own.double().clamp_min(0)).sqrt()
    sees = seen > noise[:, None]
    inside[:, zero] = torch.where(sees, seen, 0) * HIDDEN * (at_smallest - g[zero]).abs().double()
    inside[:, last] = (cross @ vectors[:, last] * g[last]).abs().double() * sees.any(1)[:, None]
    if cross.dtype != torch.float64 or ((eigenvalues > 0) & (eigenvalues <= GAP * smallest)).any():
        # Training inputs have 1/√n of each eigenvector, by root mean squares.
        inside[:, zero] = inside[:, zero].clamp_min(float(smallest * at_smallest) / len(eigenvalues) ** 0.5)
    return inside


def check_mean(
    argument: str,
    mean: Float[Tensor, "m ..."],
    cross: Float[Tensor, "m n"],
    vectors: Float[Tensor, "n n"],
    g: Float[Tensor, " n"],
    targets: Float[Tensor, "n ..."],
    hidden: Float[Tensor, "m n"],
    rounding: float,
    size: float,
    given: torch.dtype,
    time: int | float,
) -> None:
    """Raise ``ValueError`` if rounding may move means by more than a twentieth.

    Args:
        argument: What errors name.
        mean: A(x) Y of each input.
        cross: k(x, X).
        vectors: Eigenvectors U.
        g: The filter.
        targets: Uᵀ Y.
        hidden: What `hidden_part` says.
        rounding: Relative rounding δ of the kernel.
        size: Size s of the kernel's diagonal.
        given: The dtype that targets came in.
        time: t of the filter, which errors name.
    """
    if not mean.numel():
        return
    targets = targets.reshape(len(g), -1)
    signs = 2 * torch.randint(0, 2, (len(g), PROBES), generator=torch.Generator().manual_seed(0)) - 1
    probed = (cross @ (vectors @ (g[:, None] * signs.to(g)))).double()
    own = max(torch.finfo(given).eps, torch.finfo(g.dtype).eps)
    noise = NOISE * own * torch.linalg.vector_norm(targets, dim=0)
    lost = hidden @ torch.where(targets.abs() > noise, targets.abs(), 0).double()
    among = rounding * size * (1 + _rms(probed)) * float((g[:, None] * targets).double().square().sum(0).mean().sqrt())
    of_targets = own / 2 * _rms(probed) * _rms(targets.double())
    off, most = _rms(lost) + among + of_targets, PART_OF_MEAN * max(_rms(mean.double()), _rms(targets.double()))
    if not off <= most:
        dtype = given if g.dtype == torch.float64 else g.dtype
        got = f"{dtype}, with means of size {_rms(mean.double()):.2g} ± {off:.2g}"
        exact = g.dtype == torch.float64 and given != torch.float64
        fail(argument, "of a dtype that resolves means", got, f"{'fit Y.double(), or ' * exact}{hint(g.dtype, time)}")


def variance_error(
    kernel_error: Float[Tensor, " m"],
    initial_error: float,
    prior: Float[Tensor, " m"],
    size: float,
    part: Float[Tensor, "m n"],
    slope: Float[Tensor, "m n"],
    g: Float[Tensor, " n"],
    hidden: Float[Tensor, "m n"],
    among: Float[Tensor, " n"],
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
        hidden: What `hidden_part` says.
        among: N(X, X) of each eigenvector with itself.
    """
    norm = torch.linalg.vector_norm(part, dim=1)
    moved = kernel_error * (1 + norm)
    by_kernel = 2 * moved * torch.linalg.vector_norm(slope * g, dim=1)
    # Where the slope is 0, as at training inputs, the square remains.
    by_kernel = by_kernel + moved.square() * (among.clamp_min(0) * g.square()).sum()
    by_hidden = 2 * (slope.abs() * hidden).sum(1) + (hidden @ among.clamp_min(0).sqrt()).square()
    return initial_error * (prior + size * norm.square()) + by_kernel + by_hidden


def hint(dtype: torch.dtype, time: int | float) -> str:
    """What to do about what is lost at a time by kernels of a dtype, of float32 only where they take no other."""
    return f"{'give a kernel that takes float64, or ' * (dtype != torch.float64)}ask for a time before {time:g}"


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
