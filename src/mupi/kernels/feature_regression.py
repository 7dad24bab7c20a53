"""`FeatureRegression`: kernel ridge regression with a kernel of finitely many features, solved in the features."""

from numbers import Real

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.given import check_new_inputs, check_training_inputs
from mupi.kernels.labels import regression_targets
from mupi.kernels.ridge_system import LARGEST_RESIDUAL, NotPositiveDefiniteError

ROWS = 4096
"""Rows of features that are held in float64 at a time."""


@takes_numpy
class FeatureRegression:
    """f(ψ) = ⟨w, ψ⟩ with (ΨᵀΨ + λI) w = ΨᵀY and λ = ``ridge``·mean_i |ψ_i|²; the rows of Ψ are the features ψ_i.

    It is the function that `KernelRegression` finds for k = ⟨ψ, ψ'⟩ with the same ridge, since
    Ψᵀ(ΨΨᵀ + λI)⁻¹ = (ΨᵀΨ + λI)⁻¹Ψᵀ. For p features it takes O(n p² + p³) time and O(p²) memory in place of O(n³) and
    O(n²), and in float64 any usual ridge is large enough, where ΨΨᵀ of n > p rows is singular.

    >>> x, y = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    >>> mupi.FeatureRegression(ridge=1.0).fit(x, y).predict(x).tolist()  # λ = 1 halves what it is taught
    [[0.5], [1.0], [1.5]]

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
        *,
        classes: int | None = None,
    ) -> "FeatureRegression":
        """Solve for w.

        Args:
            X: Features ψ, one row a sample.
            Y: Floats are targets of one or several outputs. Integers of shape (n,) are class labels 0 … k−1, which
                stand for their `centered_one_hot`; each must occur, or ``classes`` say how many there are.
            progress: A progress display to show the sums in.
            classes: k, where some classes may have no label.

        Raises:
            ValueError: If shapes do not fit, numbers are not finite, or the targets are neither floats nor such labels
                (bools are neither).
            NotPositiveDefiniteError: If ΨᵀΨ + λI is not positive definite in float64, or so nearly singular that a
                residual ‖(ΨᵀΨ + λI) w − ΨᵀY‖ above 1 % of ‖ΨᵀY‖ remains.
        """
        check_training_inputs("FeatureRegression.fit(X)", X)
        targets = regression_targets("FeatureRegression.fit(Y)", Y, X, classes)
        p = X.shape[1]
        squares = X.new_zeros(p, p, dtype=torch.float64)
        products = X.new_zeros(p, targets.shape[1], dtype=torch.float64)
        blocks = list(zip(X.split(ROWS), targets.split(ROWS), strict=True))
        for psi, y in blocks if progress is None else progress.track(blocks, description="features"):
            psi = psi.double()
            squares.addmm_(psi.T, psi)
            products.addmm_(psi.T, y.double())
        squares.diagonal().add_(self.ridge * float(squares.trace()) / len(X))
        factor, info = torch.linalg.cholesky_ex(squares)
        weights = torch.cholesky_solve(products, factor)
        size = torch.linalg.vector_norm(products).clamp_min(torch.finfo(torch.float64).tiny)
        residual = float(torch.linalg.vector_norm(squares @ weights - products) / size)
        if info > 0 or not residual <= LARGEST_RESIDUAL:
            left = f"row {int(info)} of {p} has no positive pivot" if info > 0 else f"a residual of {residual:.2g}"
            must = f"large enough that (ΨᵀΨ + λI) w = ΨᵀY can be solved to {LARGEST_RESIDUAL:.0%} in float64"
            got, error = f"{self.ridge:g}, at which {left}", NotPositiveDefiniteError
            fail("FeatureRegression(ridge=...)", must, got, "use a larger ridge", error=error)
        self.weights = weights
        return self

    def predict(self, X: Float[Tensor, "m p"]) -> Float[Tensor, "m outputs"]:
        """f of each row, in float64 and given in the dtype of X.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If features are not as many as those of `fit`, or not finite.
        """
        if not hasattr(self, "weights"):
            raise RuntimeError("`FeatureRegression.predict` needs a fitted regression; call `fit(X, Y)` first")
        check_new_inputs("FeatureRegression.predict(X)", X, len(self.weights))
        return torch.cat([(rows.double() @ self.weights).to(X.dtype) for rows in X.split(ROWS)])
