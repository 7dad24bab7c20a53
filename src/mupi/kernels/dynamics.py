"""`KernelDynamics`: training on the squared loss in the kernel regime, at every time in closed form.

Of one network that starts at 0, and of the ensemble over initial values: its mean and covariance.
"""

from collections.abc import Callable, Sequence
from math import inf
from numbers import Real
from typing import Any, Protocol, overload, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative
from mupi.kernels.decomposed import Decomposed, decomposed
from mupi.kernels.filter_rounding import check_mean, converges, hidden_part
from mupi.kernels.given import Kernel, check_new_inputs, check_training_inputs, kernel_matrix, working_dtype
from mupi.kernels.initial_covariance import Filtered, InitialCovariance
from mupi.kernels.labels import in_shape_of, regression_targets
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.posterior import prior_variance
from mupi.kernels.spectral_filters import descent_filter, flow_filter, momentum_filter
from mupi.kernels.variance_rounding import unknown_rounding

OWNER = "KernelDynamics"

Times = int | float | Sequence[int | float] | Tensor
"""One, or several."""


@runtime_checkable
class TwoKernels(Protocol):
    """The NNGP and the NTK of one network, which are called at once: ``arch.kernels("nngp", "ntk")``."""

    kinds: tuple[str, ...]

    @property
    def nngp(self) -> Any:
        """N by itself."""

    @property
    def ntk(self) -> Any:
        """The tangent kernel by itself."""

    def __call__(self, x1: Tensor, x2: Tensor) -> Any:
        """Both, by name."""


@takes_numpy
class KernelDynamics:
    """f_t for networks with a fixed tangent kernel k (Jacot et al. 2018; Lee et al. 2019).

    With loss Σ_i |f(x_i) − y_i|²/2n, the mean over the n samples, and K = k(X, X) = U diag(λ) Uᵀ:

    - gradient descent: f_{t+1}(x) = f_t(x) − η k(x, X)(f_t(X) − Y)/n, so f_t(x) = k(x, X) U g_t(λ) Uᵀ Y with
      g_t(λ) = (1 − (1 − ηλ/n)^t)/λ; with momentum see `mupi.kernels.spectral_filters`;
    - gradient flow: df_t(x)/dt = −k(x, X)(f_t(X) − Y)/n, so g_t(λ) = (1 − e^{−λt/n})/λ;
    - t → ∞ of both: g_∞(λ) = 1/λ, and 0 for λ = 0, regression without ridge.

    This is the mean over initial values. Networks start at random functions f_0 ~ GP(0, N) with N the kernel of the
    NNGP, ``initial``, and go on as f_t(x) = f_0(x) + A(x)(Y − f_0(X)) with A = k(x, X) U g_t(λ) Uᵀ; so their
    covariance is N(x, x') − A(x) N(X, x') − N(x, X) A(x')ᵀ + A(x) N(X, X) A(x')ᵀ (Lee et al. 2019, eq. 15): for k = N
    and t = ∞ the Gaussian process of N given the data; for the tangent kernel nothing Bayesian. Time O(n³), for n up to
    some 10,000: the eigenvectors are all kept.

    >>> from mupi import NNGP, NTK, ReLU
    >>> X, Y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    >>> ensemble = KernelDynamics(NTK(2, ReLU()), initial=NNGP(2, ReLU())).fit(X, Y)
    >>> mean, std = ensemble.flow(X[:5], [0.0, 10.0, 1e3], return_std=True)
    >>> mean.shape, std.shape
    (torch.Size([3, 5]), torch.Size([3, 5]))

    Late in training small eigenvalues decide, which float32 does not hold: so for inputs in float32 too all is computed
    in float64, where the kernel takes it (one of a network in float32 does not), and the result rounded to float32.
    A kernel that takes float32 only counts as known to √eps of it, as one with kinks is, so late times are refused.

    Attributes:
        eigenvalues: λ, ascending, after `fit`; those below the rounding error are 0.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite. Or both kernels of an
            architecture, ``arch.kernels("nngp", "ntk")``, for its NTK as k and its NNGP as N, made in one pass.
        initial: N, of the network at the start; None for networks that start at 0.

    Raises:
        ValueError: If ``kernel`` is two kernels and there is an ``initial`` too, or lacks one of them.
    """

    eigenvalues: Float[Tensor, " n"]

    def __init__(self, kernel: Kernel | TwoKernels, initial: Kernel | None = None):
        self._both = kernel if isinstance(kernel, TwoKernels) else None
        if isinstance(kernel, TwoKernels):
            if initial is not None:
                fail(f"{OWNER}(initial=...)", "left out where `kernel` is two kernels", "one")
            if not {"nngp", "ntk"} <= set(kernel.kinds):
                must = 'of "nngp" and "ntk", if it is several kernels'
                fail(f"{OWNER}(kernel=...)", must, f"kernels of {', '.join(kernel.kinds)} only")
            kernel, initial = kernel.ntk, kernel.nngp
        self.kernel: Kernel = kernel
        self.initial = initial
        self._decomposed: Decomposed | None = None

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
        n, dtype = len(X), working_dtype(self.kernel, X)
        targets = regression_targets("KernelDynamics.fit(Y)", Y, X, classes, dtype)
        require_memory(
            "KernelDynamics.fit(X)",
            (4 + (self._both is not None)) * n * n * dtype.itemsize,
            available_memory(X.device),
            "fit fewer inputs, or use KernelRegression",
        )
        self._decomposed = None
        x = X.detach().to(dtype, copy=True)
        matrix, among = self._matrices(x, x, self._both is not None)
        K = decomposed(OWNER, self.kernel, x, matrix)
        self._start = None if self.initial is None else InitialCovariance(OWNER, self.initial, K, among)
        self.eigenvalues, self._targets = K.eigenvalues, K.vectors.T @ in_shape_of(Y, targets).to(matrix)
        self._decomposed, self._like = K, X[:0].detach()
        # Labels are exact.
        self._given = Y.dtype if Y.is_floating_point() else matrix.dtype
        return self

    @property
    def largest_lr(self) -> float:
        """2n/λ_max: gradient descent converges for learning rates η below."""
        n = len(self._fitted().inputs)
        top = float(self.eigenvalues[-1])
        return 2 * n / top if top > 0 else inf

    @overload
    def descend(self, X: Tensor, lr: float, steps: Times, *, momentum: float = 0.0) -> Tensor: ...

    @overload
    def descend(
        self,
        X: Tensor,
        lr: float,
        steps: Times,
        *,
        momentum: float = 0.0,
        return_std: bool,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def descend(
        self,
        X: Tensor,
        lr: float,
        steps: Times,
        *,
        momentum: float = 0.0,
        return_cov: bool,
    ) -> tuple[Tensor, Tensor]: ...

    def descend(
        self,
        X: Float[Tensor, "m d"],
        lr: float,
        steps: Times,
        *,
        momentum: float = 0.0,
        return_std: bool = False,
        return_cov: bool = False,
    ) -> Float[Tensor, "..."] | tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Predictions after a number of steps of gradient descent, or after each of several.

        Args:
            X: Inputs to predict at, one row each.
            lr: η; above `largest_lr` (times 1 + μ) the result grows with each step, as that of the algorithm does.
            steps: t, an integer ≥ 0 or ``math.inf``; or a list of such, for a leading axis of the result.
            momentum: μ, from 0 to below 1: v ← μ v + gradient, f ← f − η v, as `torch.optim.SGD`.
            return_std: Whether to give the standard deviations over initial values too.
            return_cov: Whether to give the covariances (m, m) over initial values too; not both.

        Raises:
            ValueError: If ``steps`` is no such number, ``lr`` is negative, infinitely many steps do not converge, or
                inputs are not as wide as those of `fit` and of their dtype, or not finite; if deviations are asked for
                without ``initial``; if rounding may move the means by a twentieth (of the larger of themselves and the
                targets, by root mean squares), or a variance by more than a fifth of itself and 1e-10 N(x, x).
            RuntimeError: Before `fit`.
        """
        n = len(self._fitted().inputs)
        non_negative("KernelDynamics.descend(lr=...)", lr)
        if not 0 <= momentum < 1:
            fail("KernelDynamics.descend(momentum=...)", "from 0 to below 1", momentum)
        listed = _times("KernelDynamics.descend(steps=...)", steps)
        for t in listed:
            if not t >= 0 or (t != inf and t != int(t)):
                fail("KernelDynamics.descend(steps=...)", "an integer ≥ 0 or math.inf", t)
            if t == inf and not 0 < lr < (1 + momentum) * self.largest_lr:
                most = f"{(1 + momentum) * self.largest_lr:.4g}"
                fail("KernelDynamics.descend(lr=...)", f"between 0 and largest_lr = {most}", lr)

        def spectral_filter(eigenvalues: Tensor, t: int | float) -> Tensor:
            if momentum:
                return momentum_filter(eigenvalues, lr / n, t, momentum)
            return descent_filter(eigenvalues, lr / n, t)

        return self._at("descend", X, listed, _several(steps), spectral_filter, return_std, return_cov)

    @overload
    def flow(self, X: Tensor, time: Times) -> Tensor: ...

    @overload
    def flow(self, X: Tensor, time: Times, *, return_std: bool) -> tuple[Tensor, Tensor]: ...

    @overload
    def flow(self, X: Tensor, time: Times, *, return_cov: bool) -> tuple[Tensor, Tensor]: ...

    def flow(
        self,
        X: Float[Tensor, "m d"],
        time: Times,
        *,
        return_std: bool = False,
        return_cov: bool = False,
    ) -> Float[Tensor, "..."] | tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Predictions at a time of gradient flow, which gradient descent reaches after time/η steps as η → 0.

        Args:
            X: Inputs to predict at, one row each.
            time: t ≥ 0, or ``math.inf``; or a list of such, for a leading axis of the result.
            return_std: Whether to return the standard deviation too, as `descend` does.
            return_cov: Whether to return the covariance too, as `descend` does.

        Raises:
            ValueError: If ``time`` is negative, or inputs are not as wide as those of `fit` and of their dtype, or not
                finite; if deviations are asked for without ``initial``; if rounding decides, as in `descend`.
            RuntimeError: Before `fit`.
        """
        n = len(self._fitted().inputs)
        listed = _times("KernelDynamics.flow(time=...)", time)
        for t in listed:
            if not t >= 0:
                fail("KernelDynamics.flow(time=...)", "≥ 0, or math.inf", t)

        def spectral_filter(eigenvalues: Tensor, t: int | float) -> Tensor:
            return flow_filter(eigenvalues, t / n)

        return self._at("flow", X, listed, _several(time), spectral_filter, return_std, return_cov)

    def _at(
        self,
        method: str,
        X: Tensor,
        times: Sequence[int | float],
        several: bool,
        spectral_filter: Callable[[Tensor, int | float], Tensor],
        return_std: bool,
        return_cov: bool,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """What `descend` and `flow` return."""
        argument, K, dtype = f"KernelDynamics.{method}", self._fitted(), self._like.dtype
        check_new_inputs(f"{argument}(X)", X, K.inputs.shape[1], self._like)
        if return_std and return_cov:
            fail(f"{argument}(return_cov=...)", "asked for without return_std=True", "both")
        spread = return_std or return_cov
        if spread and self.initial is None:
            hint = "use KernelDynamics(kernel, initial=...), the NNGP"
            fail(f"{argument}(return_std=...)", "asked for where networks start at random", "no initial kernel", hint)
        x = X.to(K.inputs.dtype)
        cross, initial = self._matrices(x, K.inputs, spread)
        with torch.no_grad():
            rounding, own = unknown_rounding(len(K.inputs), cross.dtype), prior_variance(OWNER, self.kernel, x)
        training, means = [], []
        for t in times:
            g, hidden = spectral_filter(K.eigenvalues, t), None
            mean = cross @ (K.vectors @ torch.einsum("n,n...->n...", g, self._targets))
            if converges(K.eigenvalues, g):
                with torch.no_grad():
                    at_smallest = spectral_filter(K.smallest.reshape(1), t)[0]
                    hidden = hidden_part(cross, K.vectors, K.eigenvalues, K.smallest, own, K.size, g, at_smallest)
                    check_mean(
                        f"{argument}(X)", mean, cross, K.vectors, g, self._targets, hidden, rounding, K.size,
                        self._given, t,
                    )  # fmt: skip
            means.append(mean)
            training.append(Filtered(t, g, hidden if spread else None))
        mean = _stacked(means, several).to(dtype)
        if initial is None:
            return mean
        assert self._start is not None
        spreads = self._start.after(argument, x, cross, initial, training, return_cov)
        return mean, _stacked(spreads, several).to(dtype)

    def _matrices(
        self, x1: Float[Tensor, "m d"], x2: Float[Tensor, "n d"], both: bool
    ) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n"] | None]:
        """k of inputs, and N if both are asked for: in one pass if they were given as two kernels."""
        if not both:
            return kernel_matrix(OWNER, self.kernel, x1, x2), None
        if self._both is None:
            assert self._start is not None
            return kernel_matrix(OWNER, self.kernel, x1, x2), self._start.of(x1, x2)
        out = self._both(x1, x2)
        return kernel_matrix(OWNER, lambda *_: out.ntk, x1, x2), kernel_matrix(OWNER, lambda *_: out.nngp, x1, x2)

    def _fitted(self) -> Decomposed:
        """What `fit` has made."""
        if self._decomposed is None:
            raise RuntimeError("`KernelDynamics` needs a kernel matrix; call `fit(X, Y)` first")
        return self._decomposed


def _times(argument: str, times: Times) -> Sequence[int | float]:
    """One or several.

    Raises:
        ValueError: If there are none, or no numbers.
    """
    listed: Sequence[int | float]
    if isinstance(times, Tensor):
        listed = times.reshape(-1).tolist()
    else:
        listed = times if isinstance(times, Sequence) else [times]
    if not listed or not all(isinstance(t, Real) for t in listed):
        fail(argument, "a number, or a list of at least one", repr(times))
    return listed


def _several(times: Times) -> bool:
    """Whether the result has an axis for times: not for a number, whoever's it is."""
    return times.ndim > 0 if isinstance(times, Tensor) else not isinstance(times, Real)


def _stacked(values: list[Tensor], several: bool) -> Tensor:
    """With an axis for several times."""
    return torch.stack(values) if several else values[0]
