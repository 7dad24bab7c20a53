"""`FeatureRegression`: kernel ridge regression with a kernel of finitely many features, solved in the features."""

from numbers import Real

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.regression import regression_targets

ROWS = 4096
"""Rows of features that are held in float64 at a time."""


@takes_numpy
class FeatureRegression:
    """f(ψ) = ⟨w, ψ⟩ with (ΨᵀΨ + λI) w = ΨᵀY and λ = ``ridge``·mean_i |ψ_i|²; the rows of Ψ are the features ψ_i.

    It is the function that `KernelRegression` finds for k = ⟨ψ, ψ'⟩ with the same ridge, since
    Ψᵀ(ΨΨᵀ + λI)⁻¹ = (ΨᵀΨ + λI)⁻¹Ψᵀ. For p features it takes O(n p² + p³) time and O(p²) memory in place of O(n³) and
    O(n²), and in float64 any usual ridge is large enough, where ΨΨᵀ of n > p rows is singular.

    Attributes:
        weights: w in float64, after `fit`.

    Args:
        ridge: λ in units of the mean squared norm, positive.

    Raises:
        ValueError: For a ridge that is not positive and finite.
    """

    weights: Float[Tensor, "p outputs"]

    def __init__(self, ridge: float):
        if not isinstance(ridge, Real) or not 0 < ridge < float("inf"):
            fail("FeatureRegression(ridge=...)", "a finite number > 0", ridge, "1e-4 is a usual choice")
        self.ridge = ridge

    @torch.no_grad()
    def fit(
        self,
        X: Float[Tensor, "n p"],
        Y: Float[Tensor, "n ..."] | Int[Tensor, " n"],
        progress: Progress | None = None,
    ) -> "FeatureRegression":
        """Solve for w.

        Args:
            X: Features.
            Y: Targets of one or several outputs, or integer class labels, which stand for their `centred_one_hot`.
            progress: A progress display to show the sums in.

        Raises:
            ValueError: If shapes do not fit.
        """
        targets = regression_targets(X, Y, "FeatureRegression")
        p = X.shape[1]
        squares = X.new_zeros(p, p, dtype=torch.float64)
        products = X.new_zeros(p, targets.shape[1], dtype=torch.float64)
        blocks = list(zip(X.split(ROWS), targets.split(ROWS), strict=True))
        for psi, y in blocks if progress is None else progress.track(blocks, description="features"):
            psi = psi.double()
            squares.addmm_(psi.T, psi)
            products.addmm_(psi.T, y.double())
        squares.diagonal().add_(self.ridge * float(squares.trace()) / len(X))
        self.weights = torch.cholesky_solve(products, torch.linalg.cholesky(squares))
        return self

    def predict(self, X: Float[Tensor, "m p"]) -> Float[Tensor, "m outputs"]:
        """f of each row, in float64 and given in the dtype of X.

        Raises:
            RuntimeError: Before `fit`.
        """
        if not hasattr(self, "weights"):
            raise RuntimeError("`FeatureRegression.predict` needs a fitted regression; call `fit(X, Y)` first")
        return torch.cat([(rows.double() @ self.weights).to(X.dtype) for rows in X.split(ROWS)])
