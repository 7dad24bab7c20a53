"""`CrossEntropyFlow`: gradient flow on the cross-entropy in the kernel regime, by an ODE solver."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.given import (
    Kernel,
    check_new_inputs,
    check_positive,
    check_symmetric,
    check_training_inputs,
    kernel_matrix,
    working_dtype,
)
from mupi.kernels.labels import labeled_classes
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.variance_rounding import unknown_rounding

OWNER = "CrossEntropyFlow"

PART = 0.05
"""How far rounding of the kernel may move outputs, relative to 1 and to themselves."""


@takes_numpy
class CrossEntropyFlow:
    """df_t(x)/dt = k(x, X)(Y − softmax f_t(X))/n: a network with a fixed tangent kernel k on the mean cross-entropy.

    Y are one-hot labels. f_t(x) = f_0(x) + k(x, X) a_t with da_t/dt = (Y − softmax(f_0(X) + K a_t))/n, which
    `scipy.integrate.solve_ivp` solves (DOP853) in float64. Networks that start at f_0 ≠ 0 end elsewhere, as the loss is
    not quadratic: draw f_0 from the NNGP for an ensemble, on training and new inputs together. The kernel is made in
    float64 of inputs in float32 too, where it takes them: coefficients grow with time, and so does what rounding does.

    >>> X, y = torch.randn(30, 2, dtype=torch.float64), torch.arange(30) % 3
    >>> flow = CrossEntropyFlow(lambda a, b: 1 + a @ b.T).fit(X, y, times=[1.0, 10.0])
    >>> flow.predict(X[:5]).shape
    torch.Size([2, 5, 3])

    Attributes:
        times: As given to `fit`.
        coefficients: a_t at these times, after `fit`.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        tolerance: Relative and absolute error of a step of the solver.
    """

    times: tuple[float, ...]
    coefficients: Float[Tensor, "times n classes"]

    def __init__(self, kernel: Kernel, tolerance: float = 1e-6):
        if not 0 < tolerance < 0.1:
            fail(f"{OWNER}(tolerance=...)", "between 0 and 0.1", tolerance)
        self.kernel, self.tolerance = kernel, tolerance
        self._inputs: Tensor | None = None

    @torch.no_grad()
    def fit(
        self,
        X: Float[Tensor, "n d"],
        Y: Int[Tensor, " n"],
        times: Sequence[float],
        *,
        start: Float[Tensor, "n classes"] | None = None,
        classes: int | None = None,
    ) -> "CrossEntropyFlow":
        """Solve up to the last time.

        Args:
            X: Inputs, of which a copy is kept.
            Y: Class labels 0 … k−1, each of which must occur, or ``classes`` say how many there are.
            times: Increasing, from 0 on; finite, since the loss has its least value at infinity.
            start: f_0(X); None for 0.
            classes: Number k of classes.

        Raises:
            ValueError: If inputs are no finite matrix, targets no such labels, times not such, the kernel not symmetric
                and positive semi-definite, or memory does not suffice; if the solver gives up; if rounding of the
                kernel, which a network in float32 has, may move outputs by a twentieth of 1 and of their size.
        """
        from scipy.integrate import solve_ivp  # here, as its import takes long

        check_training_inputs(f"{OWNER}.fit(X)", X)
        n, k = len(X), labeled_classes(f"{OWNER}.fit(Y)", Y, len(X), classes, "KernelDynamics")
        listed = [float(t) for t in times]
        if not listed or min(listed) < 0 or any(b <= a for a, b in zip(listed, listed[1:], strict=False)):
            fail(f"{OWNER}.fit(times=...)", "increasing numbers ≥ 0", listed)
        if not np.isfinite(listed).all():
            fail(f"{OWNER}.fit(times=...)", "finite", listed, "outputs grow without end as the loss goes to 0")
        require_memory(f"{OWNER}.fit(X)", 24 * n * n, available_memory(X.device), "fit fewer inputs")
        if start is not None and start.shape != (n, k):
            fail(f"{OWNER}.fit(start=...)", f"of shape ({n}, {k})", f"shape {tuple(start.shape)}")
        self._inputs = None  # from here on a fit that fails leaves nothing of an earlier one
        x = X.detach().to(working_dtype(self.kernel, X), copy=True)
        exact = kernel_matrix(OWNER, self.kernel, x, x)
        K = exact.double()
        check_symmetric(OWNER, K)
        check_positive(OWNER, K, exact.dtype)
        f0 = K.new_zeros(n, k) if start is None else start.double()
        one_hot = torch.nn.functional.one_hot(Y.long(), k).to(K)

        def rate(_: float, a: np.ndarray) -> np.ndarray:
            f = f0 + K @ torch.from_numpy(a.reshape(n, k)).to(K.device)
            return ((one_hot - f.softmax(1)) / n).cpu().numpy().reshape(-1)

        # Errors are asked of f = K a, so of a relative to the kernel's size.
        size = max(float(torch.linalg.matrix_norm(K, 1)), torch.finfo(torch.float64).tiny)
        solution = solve_ivp(
            rate,
            (0.0, max(listed[-1], np.finfo(float).tiny)),
            np.zeros(n * k),
            method="DOP853",
            t_eval=listed,
            rtol=self.tolerance,
            atol=self.tolerance / size,
        )
        if not solution.success:
            fail(f"{OWNER}.fit", "a flow that can be solved", solution.message, "use a larger tolerance or less time")
        a = torch.from_numpy(np.ascontiguousarray(solution.y.T)).reshape(len(listed), n, k)
        coefficients = a.to(X.device)
        error = unknown_rounding(n, exact.dtype) * float(K.diagonal().mean())
        for t, at in zip(listed, coefficients, strict=True):
            off, size = error * float(torch.linalg.vector_norm(at, dim=0).max()), float((f0 + K @ at).square().mean())
            if not off <= PART * max(1.0, size**0.5):
                got = f"{t:g}, when that of {exact.dtype} moves them by {off:.2g} beside a size of {size**0.5:.2g}"
                must, hint = "early enough that rounding of the kernel does not decide on outputs", "ask for less time"
                hint += ", or give a kernel that takes float64" * (exact.dtype != torch.float64)
                fail(f"{OWNER}.fit(times=...)", must, got, hint)
        self.times, self.coefficients = tuple(listed), coefficients
        self._inputs, self._like, self._starts = x, X[:0].detach(), start is not None
        return self

    def predict(
        self, X: Float[Tensor, "m d"], start: Float[Tensor, "m classes"] | None = None
    ) -> Float[Tensor, "times m classes"]:
        """f_t(x) at the times of `fit`.

        Args:
            X: Inputs to predict at, one row each.
            start: f_0(x), where `fit` had f_0(X); None for 0.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If inputs are not as wide as those of `fit` and of their dtype, or not finite; if one of the two
                had a start and the other not.
        """
        if self._inputs is None:
            raise RuntimeError(f"`{OWNER}.predict` needs a solved flow; call `fit(X, Y, times)` first")
        check_new_inputs(f"{OWNER}.predict(X)", X, self._inputs.shape[1], self._like)
        cross = kernel_matrix(OWNER, self.kernel, X.to(self._inputs.dtype), self._inputs)
        moved = cross.double() @ self.coefficients
        given, wanted = None if start is None else tuple(start.shape), tuple(moved.shape[1:]) if self._starts else None
        if given != wanted:
            must = f"of shape {wanted}, f_0(x), as fit had f_0(X)" if wanted else "None, as in fit"
            fail(f"{OWNER}.predict(start=...)", must, f"shape {given}" if given else None)
        return (moved if start is None else start + moved).to(X.dtype)
