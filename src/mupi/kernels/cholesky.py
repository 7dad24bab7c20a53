"""`Cholesky`: solve a kernel regression by a factor of its matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from mupi.distributed.processes import Processes
from mupi.distributed.sharing import sharing
from mupi.kernels.given import Kernel
from mupi.kernels.panels import Panels
from mupi.kernels.posterior import leave_one_out, log_marginal_likelihood, posterior_variance
from mupi.kernels.ridge_system import OWNER, RidgeSystem, Solution, is_kept, memory_needed


@dataclass
class FactorSolution:
    """α, and what is asked afterwards, by the Cholesky factor.

    Attributes:
        system: k(X, X) + diag(λ_i).
        solution: α with its residual.
    """

    system: RidgeSystem
    solution: Solution
    _factor: Panels | None = None

    @property
    def regularizer(self) -> float:
        """λ."""
        return self.system.regularizer

    @property
    def noise(self) -> Float[Tensor, " n"]:
        """λ_i."""
        assert self.system.noise is not None
        return self.system.noise

    def variance(
        self,
        argument: str,
        new: Float[Tensor, "m d"],
        prior: Float[Tensor, " m"],
        cross: Float[Tensor, "n m"],
        progress: Progress | None,
    ) -> Float[Tensor, " m"]:
        """k(x, x) − k(x, X) A⁻¹ k(X, x)."""
        kernel, X = self.system.kernel, self.system.X
        return posterior_variance(argument, kernel, self._panels(), prior, cross, new, X, self._size)

    def covariance(
        self,
        argument: str,
        new: Float[Tensor, "m d"],
        prior: Float[Tensor, "m m"],
        cross: Float[Tensor, "n m"],
        progress: Progress | None,
    ) -> Float[Tensor, "m m"]:
        """k(x, x') − k(x, X) A⁻¹ k(X, x')."""
        kernel, X = self.system.kernel, self.system.X
        return posterior_variance(argument, kernel, self._panels(), prior, cross, new, X, self._size)

    def leave_one_out(
        self, targets: Float[Tensor, "n outputs"], coefficients: Float[Tensor, "n outputs"]
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, " n"]]:
        """Mean and deviation of f(x_i) given all samples but the i-th."""
        kernel, X = self.system.kernel, self.system.X
        argument = f"{OWNER}.leave_one_out"
        return leave_one_out(argument, self._panels(), targets, coefficients, self.noise, kernel, X, self._size)

    def log_marginal_likelihood(
        self, targets: Float[Tensor, "n outputs"], coefficients: Float[Tensor, "n outputs"]
    ) -> float:
        """log p(Y)."""
        kernel, X = self.system.kernel, self.system.X
        argument = f"{OWNER}.log_marginal_likelihood"
        return log_marginal_likelihood(argument, self._panels(), targets, coefficients, kernel, X, self._size)

    @property
    def _size(self) -> float:
        """The mean of k(x, x) over the training inputs."""
        return self.regularizer / self.system.ridge

    def _panels(self) -> Panels:
        """The factor, kept or made again."""
        if self._factor is None:
            with torch.no_grad():
                self._factor = self.system.factorize(None)
        return self._factor


@dataclass(frozen=True)
class Cholesky:
    """(k(X, X) + diag(λ_i)) α = Y by a Cholesky factor in place of k(X, X)'s lower triangle, refined in float64.

    Args:
        shared: Whether the processes of torch.distributed's default group share the matrix and its factor: each has
            every p-th block of columns, n²/2p numbers, and computes with them. All call ``fit`` with the same
            arguments, and what is asked of the factor: variances and their derivatives, `leave_one_out`, the
            likelihood.
    """

    shared: bool = False

    smaller = "fit fewer inputs, or use ConjugateGradients()"

    def processes(self) -> Processes:
        """Those that solve together, or this one alone."""
        return sharing("Cholesky(shared=...)", self.shared)

    def alike(self) -> dict[str, Any]:
        """What has to be the same in all of them, by what errors call it."""
        return {}

    def memory_needed(self, n: int, outputs: int, dtype: torch.dtype, processes: int = 1) -> int:
        """Bytes that a fit allocates in each of so many processes."""
        return memory_needed(n, outputs, dtype, processes)

    def solve(
        self,
        kernel: Kernel,
        X: Float[Tensor, "n d"],
        ridge: float,
        weights: Float[Tensor, " n"] | None,
        targets: Float[Tensor, "n outputs"],
        progress: Progress | None,
    ) -> FactorSolution:
        """α, the best of some refinements.

        Raises:
            NotPositiveDefiniteError: If there is no factor, or the residual stays above 1 %.
        """
        processes = self.processes()
        system = RidgeSystem(kernel, X, ridge, weights, processes)
        factor = system.factorize(progress)
        solution = system.solve(factor, targets, progress)
        return FactorSolution(system, solution, factor if is_kept(len(X), X.dtype, processes.size) else None)
