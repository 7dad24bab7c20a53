"""`NystromFeatures`: a kernel's features at landmarks, of which inner products are its Nyström approximation."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.given import (
    ROUNDINGS,
    Kernel,
    check_new_inputs,
    check_symmetric,
    check_training_inputs,
    kernel_matrix,
)
from mupi.kernels.landmarks import Landmarks, PivotedCholesky, uniform_rows
from mupi.kernels.posterior import prior_variance
from mupi.kernels.tiles import row_blocks

OWNER = "NystromFeatures"

CHECKED_ROWS = 200
"""On how many rows a kernel is asked for its sign."""


@takes_numpy
class NystromFeatures:
    """ψ(x) = S^{−1/2} Uᵀ k(Z, x) for landmarks Z with k(Z, Z) = U S Uᵀ, so that ⟨ψ, ψ'⟩ = k(x, Z) k(Z, Z)⁺ k(Z, x').

    This is the best approximation of k by functions of k(Z, ·): it is exact where x or x' is a landmark, and
    k − ⟨ψ, ψ'⟩ is positive semi-definite (Williams & Seeger 2001). Eigenvalues of k(Z, Z) that are rounding of the
    largest are left out, so that there may be fewer features than landmarks. It takes any kernel: NNGP, NTK, that of a
    network.

    Inputs, and what comes out, are as large as the caller makes them: `mupi.FeatureRegression` takes features
    batch by batch; `feature_error` measures how far they are off.

    >>> X = torch.randn(100, 3, dtype=torch.float64)
    >>> features = NystromFeatures(lambda a, b: (1 + a @ b.T) ** 2, X, rank=50)
    >>> features.rank  # the features of a quadratic function of 3 variables
    10
    >>> torch.allclose(features(X) @ features(X).T, (1 + X @ X.T) ** 2)
    True

    Attributes:
        landmarks: The inputs Z that the kernel is known at.
        rank: Number of features.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        X: Rows of which landmarks are chosen; a memory-mapped array stays on the disk.
        rank: Number of landmarks; all rows if there are fewer.
        landmarks: How they are chosen; None for `PivotedCholesky`.
        generator: Draws them; None for one of seed 0.

    Raises:
        ValueError: For a rank below 1, or inputs or a kernel that `mupi.KernelRegression` refuses.
    """

    landmarks: Float[Tensor, "rows d"]

    @torch.no_grad()
    def __init__(
        self,
        kernel: Kernel,
        X: Float[Tensor, "n d"],
        rank: int,
        landmarks: Landmarks | None = None,
        generator: torch.Generator | None = None,
    ):
        check_training_inputs(f"{OWNER}(X)", X)
        rank = positive_int(f"{OWNER}(rank=...)", rank)
        landmarks = PivotedCholesky() if landmarks is None else landmarks
        if not isinstance(landmarks, Landmarks):
            fail(f"{OWNER}(landmarks=...)", "PivotedCholesky() or UniformLandmarks()", repr(landmarks))
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.kernel = kernel
        rows = landmarks.choose(OWNER, kernel, X, rank, generator)
        if not len(rows):
            fail(f"{OWNER}(kernel=...)", "positive definite", "k(x, x) of 0 at all rows")
        self.landmarks = X[rows].detach().clone()
        square = kernel_matrix(OWNER, kernel, self.landmarks, self.landmarks)
        check_symmetric(OWNER, square)
        values, vectors = torch.linalg.eigh(square.double())
        largest = float(values[-1])
        if not largest > 0:
            fail(f"{OWNER}(kernel=...)", "positive definite", f"k(Z, Z) of largest eigenvalue {largest:.3g}")
        rounding = torch.finfo(square.dtype).eps * len(square) * largest
        if values[0] < -ROUNDINGS * torch.finfo(square.dtype).eps ** 0.5 * largest:
            must = "positive semi-definite up to rounding"
            fail(f"{OWNER}(kernel=...)", must, f"k(Z, Z) of eigenvalues {float(values[0]):.3g} to {largest:.3g}")
        kept = values > rounding
        self._whitening = (vectors[:, kept] / values[kept].sqrt()).to(X)
        self.rank = int(kept.sum())
        # A kernel may be positive definite on the landmarks and not beside them: then it leaves less than nothing.
        some = X[uniform_rows(len(X), CHECKED_ROWS, generator)].detach()
        own = prior_variance(OWNER, kernel, some).double()
        left = own - self(some).double().square().sum(1)
        worst = int(left.argmin())
        if left[worst] < -ROUNDINGS * torch.finfo(square.dtype).eps ** 0.5 * own.abs().max():
            got = f"k(x, x) = {float(own[worst]):.3g}, of which landmarks explain {float(own[worst] - left[worst]):.3g}"
            fail(f"{OWNER}(kernel=...)", "positive semi-definite up to rounding", got)

    def __call__(self, X: Float[Tensor, "m d"]) -> Float[Tensor, "m features"]:
        """ψ of each row; differentiable where the kernel is.

        Raises:
            ValueError: If inputs are not as wide as the landmarks and of their dtype, or not finite.
        """
        check_new_inputs(f"{OWNER}(X)", X, self.landmarks.shape[1], self.landmarks)
        blocks = row_blocks(len(X), len(self.landmarks))
        return torch.cat(
            [kernel_matrix(OWNER, self.kernel, X[rows], self.landmarks) @ self._whitening for rows in blocks]
        )
