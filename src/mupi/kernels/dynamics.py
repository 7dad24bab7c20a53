"""`KernelDynamics`: gradient descent on the squared loss in the kernel regime, at every time in closed form."""

from math import inf

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative
from mupi.kernels.given import (
    ROUNDINGS,
    Kernel,
    check_new_inputs,
    check_symmetric,
    check_training_inputs,
    kernel_matrix,
)
from mupi.kernels.labels import regression_targets
from mupi.kernels.memory import available_memory, require_memory

OWNER = "KernelDynamics"


@takes_numpy
class KernelDynamics:
    """f_t for a network with a fixed tangent kernel k that starts at f_0 = 0 (Jacot et al. 2018; Lee et al. 2019).

    With loss Σ_i |f(x_i) − y_i|²/2n, the mean over the n samples, and K = k(X, X) = U diag(λ) Uᵀ:

    - gradient descent: f_{t+1}(x) = f_t(x) − η k(x, X)(f_t(X) − Y)/n, so f_t(x) = k(x, X) U g_t(λ) Uᵀ Y with
      g_t(λ) = (1 − (1 − ηλ/n)^t)/λ;
    - gradient flow: df_t(x)/dt = −k(x, X)(f_t(X) − Y)/n, so g_t(λ) = (1 − e^{−λt/n})/λ;
    - t → ∞ of both: g_∞(λ) = 1/λ, and 0 for λ = 0, regression without ridge.

    A network that starts at f_0 ≠ 0 makes f_0(x) plus the same on targets Y − f_0(X). Time O(n³), for n up to some
    10,000: the eigenvectors are all kept.

    Attributes:
        eigenvalues: λ, ascending, after `fit`; those below the rounding error are 0.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
    """

    eigenvalues: Float[Tensor, " n"]

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self._inputs: Tensor | None = None

    @torch.no_grad()
    def fit(
        self, X: Float[Tensor, "n d"], Y: Float[Tensor, "n ..."] | Int[Tensor, " n"], *, classes: int | None = None
    ) -> "KernelDynamics":
        """Decompose k(X, X).

        Args:
            X: Inputs, of which a copy is kept for predictions.
            Y: Floats are targets of one or several outputs. Integers of shape (n,) are class labels 0 … k−1, which
                stand for their `centered_one_hot`; each must occur, or ``classes`` say how many there are.
            classes: k, where some classes may have no label.

        Raises:
            ValueError: If shapes do not fit, numbers are not finite, the kernel is not symmetric and positive
                semi-definite up to rounding, the targets are neither floats nor such labels (bools are neither), or
                memory does not suffice.
        """
        check_training_inputs("KernelDynamics.fit(X)", X)
        targets = regression_targets("KernelDynamics.fit(Y)", Y, X, classes)
        n = len(X)
        require_memory(
            "KernelDynamics.fit(X)",
            4 * n * n * X.element_size(),
            available_memory(X.device),
            "fit fewer inputs, or use KernelRegression",
        )
        K = kernel_matrix(OWNER, self.kernel, X, X)
        check_symmetric(OWNER, K)
        eigenvalues, vectors = torch.linalg.eigh(K)
        lowest, top, eps = float(eigenvalues[0]), float(eigenvalues[-1]), torch.finfo(K.dtype).eps
        if lowest < -ROUNDINGS * eps**0.5 * max(top, 0):
            fail("KernelDynamics(kernel=...)", "positive semi-definite", f"eigenvalues from {lowest:.3g} to {top:.3g}")
        rounding = n * eps * eigenvalues[-1].clamp_min(0)
        self.eigenvalues, self._vectors = torch.where(eigenvalues > rounding, eigenvalues, 0), vectors
        targets = targets if Y.ndim == 2 or not Y.is_floating_point() else targets[:, 0]
        self._targets = vectors.T @ targets.to(K)
        self._inputs = X.detach().clone()
        return self

    @property
    def largest_lr(self) -> float:
        """2n/λ_max: gradient descent converges for learning rates η below."""
        n = len(self._fitted())
        top = float(self.eigenvalues[-1])
        return 2 * n / top if top > 0 else inf

    def descend(self, X: Float[Tensor, "m d"], lr: float, steps: int | float) -> Float[Tensor, "m ..."]:
        """Predictions after a number of steps of gradient descent.

        Args:
            X: Inputs.
            lr: η; above `largest_lr` the result grows with each step, as that of the algorithm does.
            steps: t, an integer ≥ 0 or ``math.inf``.

        Raises:
            ValueError: If ``steps`` is no such number, ``lr`` is negative, infinitely many steps do not converge, or
                inputs are not as wide as those of `fit` and of their dtype, or not finite.
            RuntimeError: Before `fit`.
        """
        trained = self._fitted()
        check_new_inputs("KernelDynamics.descend(X)", X, trained.shape[1], trained)
        non_negative("KernelDynamics.descend(lr=...)", lr)
        if not steps >= 0 or (steps != inf and steps != int(steps)):
            fail("KernelDynamics.descend(steps=...)", "an integer ≥ 0 or math.inf", steps)
        if steps == inf and not 0 < lr < self.largest_lr:
            fail("KernelDynamics.descend(lr=...)", f"between 0 and largest_lr = {self.largest_lr:.4g}", lr)
        return self._evaluate(X, descent_filter(self.eigenvalues, lr / len(trained), steps))

    def flow(self, X: Float[Tensor, "m d"], time: int | float) -> Float[Tensor, "m ..."]:
        """Predictions at a time of gradient flow, which gradient descent reaches after time/η steps as η → 0.

        Args:
            X: Inputs.
            time: t ≥ 0, or ``math.inf``.

        Raises:
            ValueError: If ``time`` is negative, or inputs are not as wide as those of `fit` and of their dtype, or not
                finite.
            RuntimeError: Before `fit`.
        """
        trained = self._fitted()
        check_new_inputs("KernelDynamics.flow(X)", X, trained.shape[1], trained)
        if not time >= 0:
            fail("KernelDynamics.flow(time=...)", "≥ 0, or math.inf", time)
        return self._evaluate(X, flow_filter(self.eigenvalues, time / len(trained)))

    def _fitted(self) -> Tensor:
        """The inputs of `fit`."""
        if self._inputs is None:
            raise RuntimeError("`KernelDynamics` needs a kernel matrix; call `fit(X, Y)` first")
        return self._inputs

    def _evaluate(self, X: Tensor, spectral_filter: Tensor) -> Tensor:
        """k(x, X) U g(λ) Uᵀ Y."""
        filtered = torch.einsum("n,n...->n...", spectral_filter, self._targets)
        return kernel_matrix(OWNER, self.kernel, X, self._fitted()) @ (self._vectors @ filtered)


def descent_filter(eigenvalues: Float[Tensor, " n"], step: float, steps: int | float) -> Float[Tensor, " n"]:
    """(1 − (1 − sλ)^t)/λ for t = ``steps`` of size s = ``step``, its limit st at λ = 0; 1/λ and 0 for t = ∞."""
    if steps == inf:
        return _inverse(eigenvalues)
    z = step * eigenvalues
    # For small z the power loses all digits of its difference from 1, the logarithm none.
    near_one = -torch.expm1(steps * torch.log1p(-z.clamp_max(0.5)))
    grown = torch.where(z < 0.5, near_one, 1 - (1 - z) ** steps)
    return torch.where(eigenvalues > 0, grown * _inverse(eigenvalues), step * steps)


def flow_filter(eigenvalues: Float[Tensor, " n"], time: int | float) -> Float[Tensor, " n"]:
    """(1 − e^{−λt})/λ for t = ``time``, its limit t at λ = 0; 1/λ and 0 for t = ∞."""
    if time == inf:
        return _inverse(eigenvalues)
    return torch.where(eigenvalues > 0, -torch.expm1(-time * eigenvalues) * _inverse(eigenvalues), time)


def _inverse(eigenvalues: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1/λ, and 0 for λ = 0."""
    positive = eigenvalues > 0
    return torch.where(positive, 1 / torch.where(positive, eigenvalues, 1), 0)
