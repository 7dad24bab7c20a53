"""`FeatureRegression`: kernel ridge regression with a kernel of finitely many features, solved in the features."""

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import as_tensor, takes_numpy
from mupi.checks import fail, finite
from mupi.kernels.given import check_new_inputs, check_training_inputs
from mupi.kernels.labels import in_shape_of, regression_targets
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.ridge_system import LARGEST_RESIDUAL, NotPositiveDefiniteError

ROWS = 4096
"""Rows of features that are held in float64 at a time."""


@takes_numpy
class FeatureRegression:
    """f(ψ) = ⟨w, ψ⟩ with (ΨᵀΨ + λI) w = ΨᵀY and λ = ``ridge``·mean_i |ψ_i|²; the rows of Ψ are the features ψ_i.

    It is the function that `KernelRegression` finds for k = ⟨ψ, ψ'⟩ with the same ridge, since
    Ψᵀ(ΨΨᵀ + λI)⁻¹ = (ΨᵀΨ + λI)⁻¹Ψᵀ. For p features it takes O(n p² + p³) time and O(p²) memory in place of O(n³) and
    O(n²), and in float64 any usual ridge is large enough, where ΨΨᵀ of n > p rows is singular.

    Features may be computed as inputs come, by `mupi.kernels.NystromFeatures` or ``arch.random_features``: then a
    million rows pass once, from memory, from a memory-mapped array, or from an iterator (`fit_batches`), and only
    p × p numbers are kept. See docs/large-kernels.md, and `mupi.kernels.feature_error` for what that costs in accuracy.

    >>> x, y = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    >>> mupi.FeatureRegression(ridge=1.0).fit(x, y).predict(x).tolist()  # λ = 1 halves what it is taught
    [0.5, 1.0, 1.5]

    Attributes:
        weights: w in float64, after `fit`.

    Args:
        ridge: λ in units of the mean squared norm, positive.
        features: ψ, from inputs (m, d) to features (m, p); None if inputs are features.

    Raises:
        ValueError: For a ridge that is not positive and finite, or features that are no function.
    """

    weights: Float[Tensor, "p ..."]

    def __init__(self, ridge: float, features: Callable[[Tensor], Tensor] | None = None):
        if not isinstance(ridge, Real) or not 0 < ridge < float("inf"):
            fail("FeatureRegression(ridge=...)", "a finite number > 0", ridge, "1e-4 is a usual choice")
        if features is not None and not callable(features):
            fail("FeatureRegression(features=...)", "a function of inputs, or None", type(features).__name__)
        self.ridge = ridge
        self.features = features

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
            X: Features ψ, or inputs where these are given by a function; one row a sample.
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
        check_training_inputs("FeatureRegression.fit(X)", X, dtypes=None)
        targets = _targets("FeatureRegression.fit(Y)", Y, X, classes)
        blocks = list(zip(X.split(ROWS), targets.split(ROWS), strict=True))
        self._fit(blocks if progress is None else progress.track(blocks, description="features"))
        return self

    @torch.no_grad()
    def fit_batches(
        self, batches: Iterable[tuple[Any, Any]], progress: Progress | None = None, *, classes: int | None = None
    ) -> "FeatureRegression":
        """Solve for w by one pass over batches of samples, of which one is held at a time.

        Args:
            batches: Pairs (X, Y), each as for `fit`.
            progress: A progress display to count the batches in.
            classes: The number of classes, where Y are class labels.

        Raises:
            ValueError: As `fit`; if there is no batch, or batches differ in width, dtype or outputs.
            NotPositiveDefiniteError: As `fit`.
        """
        tracked = batches if progress is None else progress.track(batches, description="features")
        self._fit(_blocks(tracked, classes))
        return self

    def _fit(self, blocks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Accumulate ΨᵀΨ and ΨᵀY in float64, and solve."""
        sums: tuple[Tensor, Tensor] | None = None
        rows, outputs = 0, ()
        # Should this fit fail, nothing is left of an earlier one.
        vars(self).pop("weights", None)
        for x, y in blocks:
            psi = self._features(x)
            if sums is None:
                p, self._width = psi.shape[1], x.shape[1]
                needed = 4 * 8 * p**2 + 2 * ROWS * p * (8 + psi.element_size())
                available = available_memory(psi.device)
                require_memory("FeatureRegression.fit(X)", needed, available, "use fewer features")
                sums = (psi.new_zeros(p, p, dtype=torch.float64), psi.new_zeros(p, y[0].numel(), dtype=torch.float64))
                outputs = y.shape[1:]
            squares, products = sums
            if psi.shape[1] != len(squares):
                fail("FeatureRegression(features=...)", f"a function to {len(squares)} features", f"{psi.shape[1]}")
            psi = psi.double()
            squares.addmm_(psi.T, psi)
            products.addmm_(psi.T, y.reshape(len(y), -1))
            rows += len(x)
        if sums is None:
            fail("FeatureRegression.fit_batches(batches)", "at least one batch", "none", "an iterator passes once")
        squares, products = sums
        p = len(squares)
        squares.diagonal().add_(self.ridge * float(squares.trace()) / rows)
        factor, info = torch.linalg.cholesky_ex(squares)
        weights = torch.cholesky_solve(products, factor)
        size = torch.linalg.vector_norm(products).clamp_min(torch.finfo(torch.float64).tiny)
        residual = float(torch.linalg.vector_norm(squares @ weights - products) / size)
        if info > 0 or not residual <= LARGEST_RESIDUAL:
            left = f"row {int(info)} of {p} has no positive pivot" if info > 0 else f"a residual of {residual:.2g}"
            must = f"large enough that (ΨᵀΨ + λI) w = ΨᵀY can be solved to {LARGEST_RESIDUAL:.0%} in float64"
            got, error = f"{self.ridge:g}, at which {left}", NotPositiveDefiniteError
            fail("FeatureRegression(ridge=...)", must, got, "use a larger ridge", error=error)
        self.weights = weights.reshape(p, *outputs)

    def _features(self, x: Float[Tensor, "m d"]) -> Float[Tensor, "m p"]:
        """ψ of each row."""
        if self.features is None:
            return x
        psi = self.features(x)
        if not isinstance(psi, Tensor) or psi.ndim != 2 or len(psi) != len(x) or not psi.is_floating_point():
            got = f"{psi.dtype} of shape {tuple(psi.shape)}" if isinstance(psi, Tensor) else type(psi).__name__
            fail("FeatureRegression(features=...)", f"a function to floating features, here ({len(x)}, p)", got)
        finite("FeatureRegression(features=...)(X)", psi)
        return psi

    def predict(self, X: Float[Tensor, "m p"]) -> Float[Tensor, "m ..."]:
        """f of each row, in float64 and given in the dtype of X; of the shape of the targets in `fit`.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If features are not as many as those of `fit`, or not finite.
        """
        if not hasattr(self, "weights"):
            raise RuntimeError("`FeatureRegression.predict` needs a fitted regression; call `fit(X, Y)` first")
        check_new_inputs("FeatureRegression.predict(X)", X, self._width)
        return torch.cat([(self._features(rows).double() @ self.weights).to(X.dtype) for rows in X.split(ROWS)])


def _targets(argument: str, Y: Tensor, X: Tensor, classes: int | None) -> Float[Tensor, "n ..."]:
    """In float64, in which they are summed; numbers in their own shape."""
    return in_shape_of(Y, regression_targets(argument, Y, X, classes, torch.float64))


def _blocks(batches: Iterable[tuple[Any, Any]], classes: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, checked, in blocks of rows."""
    argument, first = "FeatureRegression.fit_batches(batches)", None
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            fail(argument, "pairs (X, Y)", type(batch).__name__)
        X, Y = (as_tensor(argument, part) for part in batch)
        check_training_inputs(argument, X, dtypes=None)
        if classes is None and not Y.is_floating_point() and Y.dtype != torch.bool:
            fail(argument, "of floats where classes=... is not given", Y.dtype, "a batch need not have every class")
        targets = _targets(argument, Y, X, classes)
        kind = X.shape[1], X.dtype, tuple(targets.shape[1:])
        first = first or kind
        if kind != first:
            names = "X of width {} and {}, and outputs of shape {}"
            fail(argument, f"alike, of {names.format(*first)}", names.format(*kind))
        yield from zip(X.split(ROWS), targets.split(ROWS), strict=True)
