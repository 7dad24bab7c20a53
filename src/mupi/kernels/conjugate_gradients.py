"""`ConjugateGradients`: solve a kernel regression without its matrix."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.distributed.processes import Processes
from mupi.distributed.sharing import sharing
from mupi.kernels.given import Kernel
from mupi.kernels.iterated import IteratedSolution, solved
from mupi.kernels.landmarks import CANDIDATES, Landmarks, PivotedCholesky
from mupi.kernels.nystrom import NystromFeatures
from mupi.kernels.posterior import prior_variance
from mupi.kernels.preconditioner import preconditioner
from mupi.kernels.ridge_system import OWNER, noise_of
from mupi.kernels.tiled_system import TiledSystem

ITSELF = "ConjugateGradients"

SECONDS = 10.0
"""Between two writings of a checkpoint."""


@takes_numpy
@dataclass(frozen=True)
class ConjugateGradients:
    """(k(X, X) + diag(λ_i)) α = Y by preconditioned conjugate gradients, on tiles of k that are computed as needed.

    All right-hand sides are one vector of the system (k + diag(λ_i)) ⊗ I, which `scipy.sparse.linalg.cg` solves in
    float64; entries of k are in the dtype of X. The preconditioner is the Nyström approximation of k and the noise,
    whose landmarks a randomly pivoted Cholesky factorization chooses: as good as the best approximation of that rank up
    to a factor, also where points lie in clusters or some far out (Frangella, Tropp & Udell 2023; Díaz et al. 2023). It
    changes the number of iterations, never the answer: what is reported is the residual of α in k itself.

    It takes O(n² (d + outputs)) time an iteration and O(n (rank + outputs)) memory beside ``memory``; about
    √(largest eigenvalue that the preconditioner leaves / λ) iterations.

    Args:
        tolerance: ‖Y − (k + diag(λ_i)) α‖/‖Y‖ to reach. Of variances, their error in units of k(x, x).
        rank: Landmarks of the preconditioner; 0 for none.
        landmarks: How they are chosen.
        memory: Bytes of tiles that are kept; others are computed anew in each iteration.
        tile: Rows and columns of a tile.
        iterations: How many there may be.
        checkpoint: A file for α, written every ten seconds and removed at the end. A fit starts from what is there:
            so it goes on after an interruption, with a few iterations lost. Another problem's is no danger, as the
            residual tells how near a start is. None for no file. Of several processes the first one has it.
        shared: Whether the processes of torch.distributed's default group share the tiles: each computes, and keeps in
            its memory, every p-th one. All call ``fit`` and ``predict`` with the same arguments, and the first one
            iterates.

    Raises:
        ValueError: For a number out of its range.
    """

    tolerance: float = 1e-6
    rank: int = 500
    landmarks: Landmarks = PivotedCholesky()
    memory: int = 2**30
    tile: int = 2048
    iterations: int = 1000
    checkpoint: Path | str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.tolerance, Real) or not 0 < self.tolerance < 1:
            fail(f"{ITSELF}(tolerance=...)", "a number between 0 and 1", self.tolerance)
        for name in ("rank", "memory"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                fail(f"{ITSELF}({name}=...)", "an integer ≥ 0", repr(value))
        for name in ("tile", "iterations"):
            positive_int(f"{ITSELF}({name}=...)", getattr(self, name))
        if not isinstance(self.landmarks, Landmarks):
            fail(f"{ITSELF}(landmarks=...)", "PivotedCholesky() or UniformLandmarks()", repr(self.landmarks))
        if self.checkpoint is not None and not Path(self.checkpoint).parent.is_dir():
            fail(f"{ITSELF}(checkpoint=...)", "a file in a folder that is there", str(self.checkpoint))

    smaller = "use a lower rank or memory"

    def processes(self) -> Processes:
        """Those that solve together, or this one alone."""
        return sharing(f"{ITSELF}(shared=...)", self.shared)

    def alike(self) -> dict[str, Any]:
        """What has to be the same in all of them, by what errors call it."""
        return {f"{ITSELF}({name}=...)": getattr(self, name) for name in ("tolerance", "tile", "iterations")}

    def memory_needed(self, n: int, outputs: int, dtype: torch.dtype, processes: int = 1) -> int:
        """Bytes that a fit allocates in each of so many processes.

        They are for kept tiles, one at work, the preconditioner as it is made, and right-hand sides.
        """
        tile, rank = min(n, self.tile), min(n, self.rank)
        kept = min(self.memory, dtype.itemsize * n * (n + tile) // (2 * processes))
        at_work = tile**2 * (dtype.itemsize * 3 + 16)
        basis = (n + rank) * rank * (dtype.itemsize + 24) + dtype.itemsize * rank * min(n, CANDIDATES)
        return kept + at_work + basis + 8 * n * outputs * 10

    def solve(
        self,
        kernel: Kernel,
        X: Float[Tensor, "n d"],
        ridge: float,
        weights: Float[Tensor, " n"] | None,
        targets: Float[Tensor, "n outputs"],
        progress: Progress | None,
    ) -> IteratedSolution:
        """α to the tolerance.

        Raises:
            NotConvergedError: If the residual does not reach it.
            NotPositiveDefiniteError: If k(X, X) + diag(λ_i) is not positive definite.
        """
        size = float(prior_variance(OWNER, kernel, X).double().mean())
        λ, noise = noise_of(ridge, size, weights, X)
        processes = self.processes()
        system = TiledSystem(kernel, X, noise, self.tile, self.memory, processes)
        near = None
        if self.rank and processes.first:
            features = NystromFeatures(kernel, X, self.rank, self.landmarks)
            near = preconditioner(features(X), noise)
        start = None
        if self.checkpoint is not None and processes.first:
            start = self._read(Path(self.checkpoint), targets)
        listener = None if self.checkpoint is None else self._writer(Path(self.checkpoint))
        solution = solved(
            system, near, λ, size, targets, tolerance=self.tolerance, iterations=self.iterations, progress=progress,
            start=start, listener=listener,
        )  # fmt: skip
        if self.checkpoint is not None and processes.first:
            Path(self.checkpoint).unlink(missing_ok=True)
        return solution

    def _read(self, path: Path, targets: Tensor) -> Tensor | None:
        """What a fit that was interrupted has left, if it did."""
        if not path.exists():
            return None
        argument, hint = f"{ITSELF}(checkpoint=...)", "remove the file, or name another"
        try:
            start = torch.load(path, map_location=targets.device, weights_only=True)
        # Bytes that torch has not written raise nearly anything.
        except Exception as error:
            fail(argument, "a file that an interrupted fit has left", f"{path}: {type(error).__name__}", hint)
        if not isinstance(start, Tensor) or start.shape != targets.shape or start.dtype != torch.float64:
            got = f"{start.dtype} of shape {tuple(start.shape)}" if isinstance(start, Tensor) else type(start).__name__
            fail(argument, f"a file of coefficients of shape {tuple(targets.shape)}", f"{path} with {got}", hint)
        return start if torch.isfinite(start).all() else None

    def _writer(self, path: Path) -> Callable[[Tensor], None]:
        """Writes α where the last time is long ago; the file is there in whole, or as it was."""
        last = monotonic()

        def write(α: Tensor) -> None:
            nonlocal last
            if monotonic() - last >= SECONDS:
                partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
                try:
                    torch.save(α.cpu(), partial)
                    os.replace(partial, path)
                finally:
                    partial.unlink(missing_ok=True)
                last = monotonic()

        return write
