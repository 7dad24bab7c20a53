"""The Gaussian process that a kernel regression is the mean of: variances, samples, likelihood, each left out in turn.

With f ~ GP(0, k) and y = f(x) + N(0, λ_i) at the i-th input, all from the Cholesky factor of A = k(X, X) + diag(λ)
(Rasmussen & Williams 2006, chapters 2 and 5). Several outputs are independent processes of one covariance.

What rounding leaves of a variance is in `mupi.kernels.variance_rounding`.
"""

from math import log, pi
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.given import Kernel, kernel_matrix
from mupi.kernels.panels import Panels, half_solve, inverse_diagonal, log_determinant, other_half_solve, solve
from mupi.kernels.variance_rounding import check_variances, entry_rounding, hint, pair_rounding

DIAGONAL_ROWS = 64
"""Inputs whose kernel matrix is computed for its diagonal, where a kernel has no ``diagonal``."""

PROBES = 32
"""Random signs that the norms of the columns of A⁻¹ are estimated with: to a quarter."""

NATS = 0.5
"""How far rounding may move a log likelihood, and by a hundredth of itself."""


def prior_variance(owner: str, kernel: Kernel, X: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    """k(x, x) of each row."""
    if hasattr(kernel, "diagonal"):
        return cast(Any, kernel).diagonal(X)
    return torch.cat([kernel_matrix(owner, kernel, x, x).diagonal() for x in X.split(DIAGONAL_ROWS)])


def posterior_variance(
    argument: str,
    kernel: Kernel,
    factor: Panels,
    prior: Float[Tensor, " m"] | Float[Tensor, "m m"],
    cross: Float[Tensor, "n m"],
    new: Float[Tensor, "m d"],
    trained: Float[Tensor, "n d"],
    size: float,
) -> Float[Tensor, " m"] | Float[Tensor, "m m"]:
    """k(x, x) − k(x, X) A⁻¹ k(X, x) for the variances of a prior, and k(x, x') − k(x, X) A⁻¹ k(X, x') for a matrix.

    Args:
        argument: What errors name.
        kernel: k, asked for its own rounding.
        factor: The Cholesky factor of A.
        prior: k(x, x) of each, or k(x, x') of all.
        cross: k(X, x).
        new: The inputs x.
        trained: The inputs X.
        size: The mean of k(X_i, X_i).

    Raises:
        ValueError: If rounding decides on a variance.
    """
    half = half_solve(factor, cross)
    posterior = prior - half.T @ half if prior.ndim == 2 else prior - half.square().sum(0)
    with torch.no_grad():
        own, variance = (v.diagonal() if v.ndim == 2 else v for v in (prior.detach(), posterior.detach()))
        weights = other_half_solve(factor, half.detach())
        rounding = pair_rounding(kernel, new, trained, cross, weights, own, size)
        check_variances(argument, variance, own, weights.square().sum(0) * size, rounding)
    return posterior if prior.ndim == 2 else posterior.clamp_min(0)


def gaussian_samples(
    argument: str,
    mean: Float[Tensor, "m outputs"],
    covariance: Float[Tensor, "m m"],
    prior: Float[Tensor, " m"],
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "samples m outputs"]:
    """Draws from N(mean, covariance), each output by itself; negative eigenvalues, which rounding makes, count as 0.

    Raises:
        ValueError: If they are more than rounding makes: draws would vary more than the covariance says.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp_min(0).sqrt()
    diagonal = covariance.diagonal().double()
    check_variances(argument, diagonal, prior.double(), 0.0, 0.0, off=root.square().sum(1) - diagonal)
    noise = torch.randn(samples, *mean.shape, dtype=torch.float64, generator=generator).to(root.device)
    return mean + torch.einsum("ij,sjo->sio", root, noise).to(mean)


def log_marginal_likelihood(
    argument: str,
    factor: Panels,
    targets: Float[Tensor, "n outputs"],
    coefficients: Float[Tensor, "n outputs"],
    kernel: Kernel,
    X: Float[Tensor, "n d"],
    size: float,
) -> float:
    """log p(Y) = −½ Σ_o y_oᵀ A⁻¹ y_o − outputs·(½ log det A + n/2 log 2π), summed over outputs.

    An error δ of each entry of A moves it by about δ/2 (outputs·|A⁻¹| + Σ_o |α_o|²), with the Frobenius norm.

    Raises:
        ValueError: If rounding moves it by more than half a nat and a hundredth of itself.
    """
    n, outputs = targets.shape
    fit = float((targets.double() * coefficients.double()).sum())
    value = -fit / 2 - outputs * (log_determinant(factor) + n * log(2 * pi)) / 2
    inverse = float(_column_squares(factor).sum().sqrt())
    entries = float(entry_rounding(kernel, X)) * size
    off = entries / 2 * (outputs * inverse + float(coefficients.square().sum()))
    if not off <= NATS + 1e-2 * abs(value):
        dtype = factor.like.dtype
        fail(argument, "of a dtype that resolves it", f"{dtype}, with {value:.4g} ± {off:.2g}", hint(dtype))
    return value


def leave_one_out(
    argument: str,
    factor: Panels,
    targets: Float[Tensor, "n outputs"],
    coefficients: Float[Tensor, "n outputs"],
    noise: Float[Tensor, " n"],
    kernel: Kernel,
    X: Float[Tensor, "n d"],
    size: float,
) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, " n"]]:
    """Mean and standard deviation of f(x_i) given all samples but the i-th: y_i − α_i/(A⁻¹)_ii, 1/(A⁻¹)_ii − λ_i.

    Raises:
        ValueError: If rounding decides on a variance.
    """
    inverse = inverse_diagonal(factor).double()
    mean = targets - coefficients / inverse[:, None]
    variance = 1 / inverse - noise
    # The others' weights in the prediction of f(x_i) are −(A⁻¹)_ij/(A⁻¹)_ii; and of λ_i as much is lost.
    spread = (_column_squares(factor) / inverse.square() - 1).clamp_min(0) * size + noise
    prior = prior_variance("KernelRegression", kernel, X).double()
    check_variances(argument, variance.to(targets), prior, spread, entry_rounding(kernel, X))
    return mean.to(targets), variance.clamp_min(0).sqrt().to(targets)


def _column_squares(factor: Panels) -> Float[Tensor, " n"]:
    """Estimates of Σ_j (A⁻¹)_ij² for each i, E (A⁻¹ z)_i² for random signs z (Hutchinson 1990)."""
    signs = torch.randint(0, 2, (factor.n, PROBES), generator=torch.Generator().manual_seed(0))
    return solve(factor, (2 * signs - 1).to(factor.like)).double().square().mean(1)
