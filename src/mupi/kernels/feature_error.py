"""How far features are from the kernel that they stand for: in the kernel, and in predictions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.feature_regression import FeatureRegression
from mupi.kernels.given import Kernel, check_training_inputs, kernel_matrix
from mupi.kernels.landmarks import uniform_rows
from mupi.kernels.regression import KernelRegression

OWNER = "feature_error"


@dataclass(frozen=True)
class FeatureError:
    """What `feature_error` has measured.

    Attributes:
        kernel: (Σ (⟨ψ, ψ'⟩ − k)² / Σ k²)^{1/2} over pairs of different rows.
        predictions: ‖f̂ − f‖/‖f‖ on rows that neither has seen, of regressions on as many; None without targets.
        rows: How many rows that were: the pairs are its square.
    """

    kernel: float
    predictions: float | None
    rows: int


@takes_numpy
@torch.no_grad()
def feature_error(
    features: Callable[[Tensor], Tensor],
    kernel: Kernel,
    X: Float[Tensor, "n d"],
    Y: Float[Tensor, "n ..."] | Int[Tensor, " n"] | None = None,
    *,
    ridge: float = 1e-4,
    rows: int = 1000,
    classes: int | None = None,
    generator: torch.Generator | None = None,
) -> FeatureError:
    """Compare features with a kernel on a random sample: their inner products, and their predictions.

    Two disjoint sets of rows are drawn. The kernel is compared on all pairs between them; predictions are those for the
    second set of `FeatureRegression` and `KernelRegression`, both fitted to the first.

    >>> X = torch.randn(400, 3)
    >>> kernel = mupi.NNGP(1, mupi.ReLU())
    >>> features = mupi.kernels.NystromFeatures(kernel, X, rank=100)
    >>> feature_error(features, kernel, X, X[:, 0], rows=100, ridge=1e-2).kernel < 0.01
    True

    Args:
        features: ψ, from inputs (m, d) to features (m, p).
        kernel: k, of which ⟨ψ, ψ'⟩ should be near.
        X: Inputs, of which rows are drawn; may be a memory-mapped array.
        Y: Targets, as `KernelRegression` takes them; None to compare kernels alone.
        ridge: λ of the regressions, in units of the mean diagonal.
        rows: How many rows each set has, at most half of all.
        classes: Of class labels, their number.
        generator: Draws the rows; None for one of seed 0.

    Raises:
        ValueError: For fewer than two inputs, or what the regressions refuse.
    """
    check_training_inputs(f"{OWNER}(X)", X, dtypes=None)
    rows = min(positive_int(f"{OWNER}(rows=...)", rows), len(X) // 2)
    if not rows:
        fail(f"{OWNER}(X)", "of at least two rows", "one")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    drawn = uniform_rows(len(X), 2 * rows, generator)
    drawn = drawn[torch.randperm(len(drawn), generator=generator)]
    first, second = (part.sort().values for part in (drawn[:rows], drawn[rows : 2 * rows]))
    a, b = X[first], X[second]
    exact = kernel_matrix(OWNER, kernel, a, b).double()
    off = features(a).double() @ features(b).double().T - exact
    relative = float(torch.linalg.matrix_norm(off) / torch.linalg.matrix_norm(exact))
    if Y is None:
        return FeatureError(relative, None, rows)
    if len(Y) != len(X):
        fail(f"{OWNER}(Y)", f"of {len(X)} rows, one for each of X", f"{len(Y)}")
    classes = int(Y.max()) + 1 if classes is None and not Y.is_floating_point() and Y.dtype != torch.bool else classes
    f = KernelRegression(kernel, ridge).fit(a, Y[first], classes=classes).predict(b).double()
    found = FeatureRegression(ridge, features).fit(a, Y[first], classes=classes).predict(b).double()
    return FeatureError(relative, float((found - f).norm() / f.norm()), rows)
