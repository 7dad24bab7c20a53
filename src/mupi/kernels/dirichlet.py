"""`DirichletClassification`: class probabilities from Gaussian process regression."""

from math import log, pi
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.given import Kernel, check_new_inputs, check_symmetric, check_training_inputs, kernel_matrix
from mupi.kernels.labels import labeled_classes
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.posterior import prior_variance
from mupi.kernels.ridge_system import NotPositiveDefiniteError
from mupi.kernels.variance_rounding import check_variances, pair_rounding

OWNER = "DirichletClassification"

ROWS_FOR_SCALE = 1000
"""Samples that the kernel's scale is chosen on, at most."""

SCALES = (-8.0, 8.0)
"""Where log(scale·mean diagonal) is looked for."""


@takes_numpy
class DirichletClassification:
    """p(class c | x) = E softmax(f(x))_c with a Gaussian process f_c for each class (Milios et al. 2018).

    The concentrations of a Dirichlet distribution are α_ic = ε + 1(y_i = c); log of its Gamma variables is matched by
    Gaussians: f_c is regressed on log α_ic − s_ic/2 with noise of variance s_ic = log(1 + 1/α_ic), around the mean of
    these targets. Unlike one-hot regression this is calibrated, and unlike a softmax likelihood it needs no
    approximation of the posterior: k Cholesky factors of n × n.

    >>> X = torch.randn(60, 2, dtype=torch.float64)
    >>> model = DirichletClassification(lambda a, b: 1 + a @ b.T).fit(X, (X[:, 0] > 0).long())
    >>> bool(model.predict_proba(torch.tensor([[3.0, 0.0]], dtype=torch.float64))[0, 1] > 0.9)
    True

    Attributes:
        scale: The kernel's multiplier, after `fit`.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        epsilon: ε > 0: the smaller, the surer of a class that a sample has.
        scale: Multiplier of the kernel; None for the one of largest marginal likelihood (on at most 1,000 samples).

    Raises:
        ValueError: For an ``epsilon`` or a ``scale`` that is not positive and finite.
    """

    scale: float

    def __init__(self, kernel: Kernel, epsilon: float = 0.01, scale: float | None = None):
        for name, value in (("epsilon", epsilon), ("scale", 1.0 if scale is None else scale)):
            if not 0 < value < float("inf"):
                fail(f"{OWNER}({name}=...)", "a finite number > 0", value)
        self.kernel, self.epsilon, self.given_scale = kernel, epsilon, scale
        self._inputs: Tensor | None = None

    @torch.no_grad()
    def fit(
        self, X: Float[Tensor, "n d"], Y: Int[Tensor, " n"], *, classes: int | None = None
    ) -> "DirichletClassification":
        """Factorize for each class, in float64.

        Args:
            X: Inputs, of which a copy is kept.
            Y: Class labels 0 … k−1, each of which must occur, or ``classes`` say how many there are.
            classes: Number k of classes.

        Raises:
            ValueError: If inputs are no finite matrix, targets no such labels, or memory does not suffice.
            NotPositiveDefiniteError: If the kernel is not positive semi-definite.
        """
        check_training_inputs(f"{OWNER}.fit(X)", X)
        n, k = len(X), labeled_classes(f"{OWNER}.fit(Y)", Y, len(X), classes, "KernelRegression")
        require_memory(f"{OWNER}.fit(X)", 8 * n * n * (k + 2), available_memory(X.device), "fit fewer inputs")
        self._inputs = None  # from here on a fit that fails leaves nothing of an earlier one
        K = kernel_matrix(OWNER, self.kernel, X, X).double()
        check_symmetric(OWNER, K)
        α = self.epsilon + torch.nn.functional.one_hot(Y.long(), k).to(K)
        noise = (1 + 1 / α).log()
        targets = α.log() - noise / 2
        self._mean = targets.mean(0)
        targets = targets - self._mean
        self.scale = self.given_scale or _best_scale(K, targets, noise, X.dtype)
        self._factors = [_factor(self.scale * K, noise[:, c], X.dtype) for c in range(k)]
        solved = [torch.cholesky_solve(targets[:, c : c + 1], L) for c, L in enumerate(self._factors)]
        self._coefficients = torch.cat(solved, 1)
        self._inputs, self._size = X.detach().clone(), float(K.diagonal().mean())
        return self

    @torch.no_grad()
    def predict(self, X: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "m classes"], Float[Tensor, "m classes"]]:
        """Mean and standard deviation of each f_c(x).

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If inputs are not as wide as those of `fit` and of their dtype, or not finite; if rounding
                decides on a variance, as in `mupi.KernelRegression.predict`.
        """
        if self._inputs is None:
            raise RuntimeError(f"`{OWNER}.predict` needs a fitted model; call `fit(X, Y)` first")
        check_new_inputs(f"{OWNER}.predict(X)", X, self._inputs.shape[1], self._inputs)
        cross = self.scale * kernel_matrix(OWNER, self.kernel, X, self._inputs).double()
        prior = self.scale * prior_variance(OWNER, self.kernel, X).double()
        variances = [self._variance(L, X, prior, cross.T) for L in self._factors]
        return (cross @ self._coefficients + self._mean).to(X.dtype), torch.stack(variances, 1).sqrt().to(X.dtype)

    def _variance(
        self, L: Float[Tensor, "n n"], X: Float[Tensor, "m d"], prior: Float[Tensor, " m"], cross: Float[Tensor, "n m"]
    ) -> Float[Tensor, " m"]:
        """Of f_c, whose factor is L; the kernel is known to the digits of X only."""
        assert self._inputs is not None
        half = torch.linalg.solve_triangular(L, cross, upper=False)
        variance = prior - half.square().sum(0)
        weights = torch.linalg.solve_triangular(L.T, half, upper=True)
        parts = (cross / self.scale).to(X.dtype), weights, (prior / self.scale).to(X.dtype), self._size
        rounding = pair_rounding(self.kernel, X, self._inputs, *parts)
        spread = weights.square().sum(0) * self.scale * self._size
        check_variances(f"{OWNER}.predict(X)", variance.to(X.dtype), prior, spread, rounding)
        return variance.clamp_min(0)

    def predict_proba(
        self, X: Float[Tensor, "m d"], *, samples: int = 512, generator: torch.Generator | None = None
    ) -> Float[Tensor, "m classes"]:
        """E softmax(f(x)), the mean over samples of f(x).

        Args:
            X: Inputs to predict at, one row each.
            samples: How many; the error of a probability is at most 1/(2√samples).
            generator: Draws them; None for the same ones in each call.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: As `predict`.
        """
        mean, std = self.predict(X)
        positive_int(f"{OWNER}.predict_proba(samples=...)", samples)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        noise = torch.randn(samples, 1, mean.shape[1], generator=generator, dtype=torch.float64).to(mean)
        return torch.stack([(m + s * noise[:, 0]).softmax(-1).mean(0) for m, s in zip(mean, std, strict=True)])


def _factor(K: Float[Tensor, "n n"], noise: Float[Tensor, " n"], dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """The Cholesky factor of K + diag(noise), for a kernel that is known to the digits of a dtype."""
    L, info = torch.linalg.cholesky_ex(K + noise.diag())
    if info > 0:
        got = f"one for which row {int(info)} of {len(K)} has no positive pivot"
        hint = "use a smaller scale" if dtype == torch.float64 else "fit X.double(), or use a smaller scale"
        fail(f"{OWNER}(kernel=...)", "positive semi-definite", got, hint, error=NotPositiveDefiniteError)
    return L


def _best_scale(K: Tensor, targets: Tensor, noise: Tensor, dtype: torch.dtype) -> float:
    """The multiplier of largest log p(targets), of samples spread over all."""
    from scipy.optimize import minimize_scalar  # here, as its import takes long

    rows = slice(None, None, -(-len(K) // ROWS_FOR_SCALE))
    K, targets, noise = K[rows, rows], targets[rows], noise[rows]
    size = float(K.diagonal().mean())
    if not size > 0:
        fail(f"{OWNER}(kernel=...)", "positive definite", f"k(x, x) of mean {size:g}")

    def loss(log_scale: float) -> float:
        total = 0.0
        for c in range(targets.shape[1]):
            L = _factor(torch.e**log_scale / size * K, noise[:, c], dtype)
            half = torch.linalg.solve_triangular(L, targets[:, c : c + 1], upper=False)
            total += float(half.square().sum() / 2 + L.diagonal().log().sum() + len(K) * log(2 * pi) / 2)
        return total

    best: Any = minimize_scalar(loss, bounds=SCALES, method="bounded", options={"xatol": 0.05})
    return float(torch.e**best.x / size)
