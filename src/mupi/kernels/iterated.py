"""What conjugate gradients find of a kernel regression, and answer afterwards."""

from dataclasses import dataclass
from typing import NoReturn

import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.iteration import Display, Listener, Reached, iterate
from mupi.kernels.preconditioner import Preconditioner
from mupi.kernels.ridge_system import OWNER, Solution
from mupi.kernels.tiled_system import TiledSystem
from mupi.kernels.variance_rounding import FLOOR, check_variances, pair_rounding

ITSELF = "ConjugateGradients"

COLUMN_ENTRIES = 2**24
"""Entries of right-hand sides that variances are solved for at a time: 128 MB, some ten times."""

RELATIVE = 0.01
"""How near variances are."""


class NotConvergedError(ValueError):
    """Conjugate gradients did not reach their tolerance, in as many iterations as they may take or at all."""


@dataclass(frozen=True)
class IteratedSolution:
    """α, and variances by further solves.

    Attributes:
        system: k(X, X) + diag(λ_i).
        near: A preconditioner of the system.
        regularizer: Ridge times the kernel's size, λ.
        size: The mean of k(x, x) over the training inputs.
        solution: α with its residual.
        tolerance: Of residuals and variances.
        iterations: How many there may be.
    """

    system: TiledSystem
    near: Preconditioner | None
    regularizer: float
    size: float
    solution: Solution
    tolerance: float
    iterations: int

    @property
    def noise(self) -> Float[Tensor, " n"]:
        """λ_i."""
        return self.system.noise

    def variance(
        self,
        argument: str,
        new: Float[Tensor, "m d"],
        prior: Float[Tensor, " m"],
        cross: Float[Tensor, "n m"],
        progress: Progress | None,
    ) -> Float[Tensor, " m"]:
        """k(x, x) − k(x, X) A⁻¹ k(X, x), to within 1 % and tolerance·k(x, x).

        Raises:
            NotConvergedError: If that is not reached.
            ValueError: If rounding decides on a variance.
        """
        columns = max(1, COLUMN_ENTRIES // len(cross))
        parts = zip(new.split(columns), prior.split(columns), cross.split(columns, 1), strict=True)
        return torch.cat([self._part(argument, *part, progress) for part in parts])

    def covariance(
        self,
        argument: str,
        new: Float[Tensor, "m d"],
        prior: Float[Tensor, "m m"],
        cross: Float[Tensor, "n m"],
        progress: Progress | None,
    ) -> Float[Tensor, "m m"]:
        """k(x, x') − k(x, X) A⁻¹ k(X, x'), whose diagonal is as near as `variance`."""
        return self._part(argument, new, prior, cross, progress)

    def leave_one_out(self, *_: Tensor) -> NoReturn:
        """Refused: it wants all of A⁻¹'s diagonal."""
        fail(f"{OWNER}(solver=...)", "Cholesky() for leave_one_out, which needs a factor", f"{ITSELF}")

    def log_marginal_likelihood(self, *_: Tensor) -> NoReturn:
        """Refused: it wants log det A."""
        fail(f"{OWNER}(solver=...)", "Cholesky() for log_marginal_likelihood, which needs log det A", f"{ITSELF}")

    def _part(
        self, argument: str, new: Tensor, prior: Tensor, cross: Float[Tensor, "n m"], progress: Progress | None
    ) -> Tensor:
        """Variances for those of a prior, and covariances for a matrix.

        With A v = b − r, bᵀ A⁻¹ b' is bᵀ v' + vᵀ b' − vᵀ A v' + rᵀ A⁻¹ r', of which the last is left out, and
        |rᵀ A⁻¹ r'| ≤ |r| |r'|/min λ_i. Columns are solved for in units of (min λ_i k(x, x))^{1/2}, so that a residual
        of δ^{1/2} bounds it by δ·k(x, x); δ falls until it is 1 % of the variances that were found. As that is
        stationary at v, its derivative by b is that of bᵀ A⁻¹ b' with v held.
        """
        own = (prior if prior.ndim == 1 else prior.diagonal()).detach().double()
        unit = (float(self.noise.min()) * own).sqrt().clamp_min(torch.finfo(torch.float64).tiny ** 0.5)
        b = cross.double() / unit
        δ, start = self.tolerance, None
        while True:
            aim = δ**0.5
            display = Display(progress, "variances", len(self.system.places), aim)
            reached = iterate(self.system, self.near, b.detach(), aim, self.iterations, display, start)
            v, start = reached.x, reached.x
            Av = b.detach() - reached.rest
            if prior.ndim == 1:
                posterior = prior.double() - (2 * b * v - v * Av).sum(0) * unit.square()
            else:
                posterior = prior.double() - (b.T @ v + v.T @ b - v.T @ Av) * torch.outer(unit, unit)
            variance = (posterior if prior.ndim == 1 else posterior.diagonal()).detach()
            wanted = RELATIVE * max(float((variance / own).min()), FLOOR)
            if reached.size > aim or reached.size**2 <= wanted:
                break
            δ = wanted
        size, like = self.size, prior.detach()
        weights = (v * unit).to(like)
        own, variance = own.to(like), variance.to(like)
        rounding = pair_rounding(self.system.kernel, new.detach(), self.system.X, cross.detach(), weights, own, size)
        check_variances(argument, variance, own, weights.square().sum(0) * size, rounding)
        if reached.size > aim:
            _not_reached(reached, self.iterations, 1.0, aim, "(λ k(x, x))^½")
        return posterior.to(like) if prior.ndim == 2 else posterior.clamp_min(0).to(like)


def solved(
    system: TiledSystem,
    near: Preconditioner | None,
    regularizer: float,
    scale: float,
    targets: Float[Tensor, "n outputs"],
    *,
    tolerance: float,
    iterations: int,
    progress: Progress | None,
    start: Tensor | None = None,
    listener: Listener | None = None,
) -> IteratedSolution:
    """α with a residual of tolerance·‖Y‖.

    Raises:
        NotConvergedError: If it does not come so near.
    """
    Y = targets.double()
    size = float(torch.linalg.vector_norm(Y).clamp_min(torch.finfo(torch.float64).tiny))
    display = Display(progress, "conjugate gradients", len(system.places), size)
    reached = iterate(system, near, Y, tolerance * size, iterations, display, start, listener)
    if reached.size > tolerance * size:
        _not_reached(reached, iterations, size, tolerance, "‖Y‖")
    rounding = float(reached.rounded[1].sum().sqrt()) * torch.finfo(system.X.dtype).eps / 2
    solution = Solution(reached.x, reached.size / size, rounding / size, reached.iterations)
    return IteratedSolution(system, near, regularizer, scale, solution, tolerance, iterations)


def _not_reached(reached: Reached, iterations: int, size: float, tolerance: float, unit: str) -> NoReturn:
    """Say why a residual is larger than it should be."""
    remains = f"at which {reached.size / size:.2g} of {unit} remains"
    if reached.iterations >= iterations:
        must = f"enough for a residual of {tolerance:.2g} {unit}"
        hint = "use a larger ridge or tolerance, or a higher rank"
        fail(f"{ITSELF}(iterations=...)", must, f"{iterations}, {remains}", hint, error=NotConvergedError)
    must = f"large enough that rounding lets a residual fall to {tolerance:.2g} {unit}"
    got = f"one {remains} after {reached.iterations} iterations"
    fail(f"{OWNER}(ridge=...)", must, got, "use a larger ridge or tolerance", error=NotConvergedError)
