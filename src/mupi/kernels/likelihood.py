"""Choose a kernel's numbers by marginal likelihood, without a validation set (Rasmussen & Williams 2006, 5.4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.given import Kernel, check_symmetric, check_training_inputs, kernel_matrix
from mupi.kernels.labels import regression_targets
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.ridge_system import NotPositiveDefiniteError

OWNER = "maximize_likelihood"

STEP = 1e-4
"""Of a logarithm, for central differences of kernel matrices: off by a part in 10⁸ in float64."""

Family = Callable[..., Kernel]
"""From a kernel's numbers, as keywords, to the kernel."""


@dataclass(frozen=True)
class Chosen:
    """A kernel of largest marginal likelihood.

    Attributes:
        kernel: k, for `mupi.KernelRegression`.
        ridge: λ in units of its mean diagonal, likewise.
        numbers: What ``family`` made it of.
        log_likelihood: log p(Y), summed over outputs.
        gradient: Of log p(Y) by the logarithm of each number, and of the ridge; near 0 where it is not at a bound.
    """

    kernel: Kernel
    ridge: float
    numbers: Mapping[str, float]
    log_likelihood: float
    gradient: Mapping[str, float]


@takes_numpy
@torch.no_grad()
def log_likelihood_and_gradient(
    family: Family, X: Float[Tensor, "n d"], Y: Tensor, ridge: float, **numbers: float
) -> tuple[float, dict[str, float]]:
    """log p(Y) of y = f(x) + N(0, λ), f ~ GP(0, k), and its gradient by log of each number and of the ridge.

    With A = k(X, X) + λI and α = A⁻¹ Y: −½ tr Yᵀα − outputs·½(log det A + n log 2π), whose derivative is
    ½ tr((ααᵀ − outputs·A⁻¹) ∂A); ∂A of a kernel's number by central differences of the matrix, in float64.

    Args:
        family: From numbers to a kernel.
        X: Training inputs, one row each.
        Y: As `mupi.KernelRegression` takes them.
        ridge: λ in units of the mean diagonal.
        numbers: Positive, what the kernel is made of.

    Raises:
        NotPositiveDefiniteError: If A is not positive definite in float64.
    """
    X = X.double()
    targets = regression_targets(f"{OWNER}(Y)", Y, X)

    def regularized(values: Mapping[str, float]) -> Tensor:
        K = kernel_matrix(OWNER, family(**values), X, X)
        check_symmetric(OWNER, K)
        return K + ridge * K.diagonal().mean() * torch.eye(len(K), dtype=K.dtype, device=K.device)

    A = regularized(numbers)
    L, info = torch.linalg.cholesky_ex(A)
    if info > 0:
        got = f"{ridge:g}, at which row {int(info)} of {len(X)} has no positive pivot"
        fail(
            f"{OWNER}(ridge=...)",
            "large enough that k(X, X) + λI is positive definite",
            got,
            error=NotPositiveDefiniteError,
        )
    α, (n, outputs) = torch.cholesky_solve(targets, L), targets.shape
    value = -float((targets * α).sum()) / 2 - outputs * float(L.diagonal().log().sum() + n * log(2 * pi) / 2)
    slope = (α @ α.T - outputs * torch.cholesky_inverse(L)) / 2
    gradient = {}
    for name, number in numbers.items():
        more, less = (regularized({**numbers, name: number * exp(sign * STEP)}) for sign in (1, -1))
        gradient[name] = float((slope * (more - less)).sum()) / (2 * STEP)
    λ = ridge / (1 + ridge) * float(A.diagonal().mean())
    gradient["ridge"] = λ * float(slope.trace())
    return value, gradient


@takes_numpy
def maximize_likelihood(
    family: Family,
    X: Float[Tensor, "n d"],
    Y: Float[Tensor, "n ..."] | Int[Tensor, " n"],
    *,
    ridge: float = 1e-2,
    bounds: tuple[float, float] = (1e-6, 1e4),
    **start: float,
) -> Chosen:
    """The kernel of a family, and the ridge, of largest marginal likelihood: by L-BFGS (scipy) in their logarithms.

    Each of some twenty evaluations takes 1 + 2·(how many numbers) kernel matrices and a Cholesky factor, in float64.

    >>> from mupi import NNGP, ReLU
    >>> X, Y = torch.randn(30, 3, dtype=torch.float64), torch.randn(30, dtype=torch.float64)
    >>> family = lambda sigma_w, sigma_b: NNGP(2, ReLU(), sigma_w, sigma_b)
    >>> chosen = maximize_likelihood(family, X, Y, sigma_w=1.4, sigma_b=0.1)
    >>> sorted(chosen.numbers)
    ['sigma_b', 'sigma_w']

    Args:
        family: From numbers, as keywords, to a kernel.
        X: Training inputs, one row each.
        Y: Floats are targets, integers class labels, as in `mupi.KernelRegression`.
        ridge: Where λ in units of the mean diagonal starts.
        bounds: Least and largest value of each number, and of the ridge.
        start: Where the numbers start, by name.

    Raises:
        ValueError: If inputs or targets are none, a start is not within the bounds, or memory does not suffice.
        NotPositiveDefiniteError: If no ridge within the bounds makes the kernel positive definite.
    """
    from scipy.optimize import minimize  # here, as its import takes long

    check_training_inputs(f"{OWNER}(X)", X)
    low, high = bounds
    for name, value in {**start, "ridge": ridge}.items():
        if not 0 < low <= value <= high < float("inf"):
            fail(f"{OWNER}({name}=...)", f"a number within bounds={bounds}", value)
    require_memory(f"{OWNER}(X)", 8 * 6 * len(X) ** 2, available_memory(X.device), "choose on fewer inputs")
    names = [*start, "ridge"]

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        values = dict(zip(names, np.exp(logs).tolist(), strict=True))
        try:
            value, gradient = log_likelihood_and_gradient(family, X, Y, **values)
        except NotPositiveDefiniteError:  # the line search came too near to singular matrices
            return 1e300, np.zeros(len(names))
        return -value, -np.array([gradient[name] for name in names])

    first = np.log([*start.values(), ridge])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=[(log(low), log(high))] * len(names))
    values = dict(zip(names, np.exp(found.x).tolist(), strict=True))
    best, gradient = log_likelihood_and_gradient(family, X, Y, **values)
    ridge = values.pop("ridge")
    return Chosen(family(**values), ridge, values, best, gradient)
