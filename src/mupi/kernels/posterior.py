"""The Gaussian process that a kernel regression is the mean of: variances, samples, likelihood, each left out in turn.

With f ~ GP(0, k) and y = f(x) + N(0, λ_i) at the i-th input, all from the Cholesky factor of A = k(X, X) + diag(λ)
(Rasmussen & Williams 2006, chapters 2 and 5). Several outputs are independent processes of one covariance.
"""

from math import log, pi
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.given import Kernel, kernel_matrix
from mupi.kernels.panels import Panels, half_solve, inverse_diagonal, log_determinant

DIAGONAL_ROWS = 64
"""Inputs whose kernel matrix is computed for its diagonal, where a kernel has no ``diagonal``."""


def prior_variance(owner: str, kernel: Kernel, X: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    """k(x, x) of each row."""
    if hasattr(kernel, "diagonal"):
        return cast(Any, kernel).diagonal(X)
    return torch.cat([kernel_matrix(owner, kernel, x, x).diagonal() for x in X.split(DIAGONAL_ROWS)])


def posterior_variance(
    argument: str, factor: Panels, prior: Float[Tensor, " m"], cross: Float[Tensor, "n m"]
) -> Float[Tensor, " m"]:
    """k(x, x) − k(x, X) A⁻¹ k(X, x).

    Raises:
        ValueError: If rounding makes it negative by more than a factor's rounding can.
    """
    variance = prior - half_solve(factor, cross).square().sum(0)
    if (variance < -_rounding(cross) * prior).any():
        worst = float((variance / prior).min())
        fail(
            argument,
            "of a dtype that resolves variances",
            f"{cross.dtype}, with one of {worst:.2g} k(x, x)",
            "fit X.double()",
        )
    return variance.clamp_min(0)


def posterior_covariance(
    factor: Panels, prior: Float[Tensor, "m m"], cross: Float[Tensor, "n m"]
) -> Float[Tensor, "m m"]:
    """k(x, x') − k(x, X) A⁻¹ k(X, x')."""
    half = half_solve(factor, cross)
    return prior - half.T @ half


def gaussian_samples(
    mean: Float[Tensor, "m outputs"],
    covariance: Float[Tensor, "m m"],
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "samples m outputs"]:
    """Draws from N(mean, covariance), each output by itself; negative eigenvalues, which rounding makes, count as 0."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp_min(0).sqrt()
    noise = torch.randn(samples, *mean.shape, dtype=torch.float64, generator=generator).to(root.device)
    return mean + torch.einsum("ij,sjo->sio", root, noise).to(mean)


def log_marginal_likelihood(
    factor: Panels, targets: Float[Tensor, "n outputs"], coefficients: Float[Tensor, "n outputs"]
) -> float:
    """log p(Y) = −½ Σ_o y_oᵀ A⁻¹ y_o − outputs·(½ log det A + n/2 log 2π), summed over outputs."""
    n, outputs = targets.shape
    fit = float((targets.double() * coefficients.double()).sum())
    return -fit / 2 - outputs * (log_determinant(factor) + n * log(2 * pi)) / 2


def leave_one_out(
    factor: Panels,
    targets: Float[Tensor, "n outputs"],
    coefficients: Float[Tensor, "n outputs"],
    noise: Float[Tensor, " n"],
) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, " n"]]:
    """Mean and standard deviation of f(x_i) given all samples but the i-th: y_i − α_i/(A⁻¹)_ii, 1/(A⁻¹)_ii − λ_i."""
    inverse = inverse_diagonal(factor).double()
    mean = targets - coefficients / inverse[:, None]
    return mean.to(targets), (1 / inverse - noise).clamp_min(0).sqrt().to(targets)


def _rounding(cross: Tensor) -> float:
    """What a Cholesky factor of n rows may be off, relative to k(x, x), and then some."""
    return 32 * torch.finfo(cross.dtype).eps * len(cross) ** 0.5
