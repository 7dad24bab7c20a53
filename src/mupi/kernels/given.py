"""What users give to a kernel method, a kernel and inputs, and what is asked of both."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail, finite
from mupi.kernels.inner_products import check_matrix

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, d) and (m, d) to (n, m): `NNGP`, `NTK`, ….

It is called once for each block of the matrix. For the feature kernel of a network, compute the features once and
regress on them: ``net.features(x).flatten(1)`` with the kernel ``net.readout.kernel``.
"""

ROUNDINGS = 32
"""How many times √eps, relative to the diagonal, a kernel may be off symmetry or positivity. Near parallel inputs an
E φ'φ' is known to some √eps; what is not symmetric or positive by its nature is off by more."""


FACTORIZED = (torch.float32, torch.float64)
"""Dtypes that matrices are factorized in."""


def check_training_inputs(argument: str, X: Tensor, dtypes: Sequence[torch.dtype] | None = FACTORIZED) -> None:
    """Raise ``ValueError`` unless inputs are a matrix of at least a row, of finite numbers of a dtype; None for any."""
    check_matrix(argument, X)
    if dtypes is not None and X.dtype not in dtypes:
        fail(argument, f"of {' or '.join(map(str, dtypes))}", X.dtype, "use X.float()")
    if not len(X):
        fail(argument, "of at least one row", "none")
    finite(argument, X)


def check_new_inputs(argument: str, X: Tensor, width: int, like: Tensor | None = None) -> None:
    """Raise ``ValueError`` unless inputs are of a width, finite, and of the dtype and device of ``like``."""
    check_matrix(argument, X)
    if X.shape[1] != width:
        fail(argument, f"of shape (m, {width}), as wide as those of fit", f"shape {tuple(X.shape)}")
    if like is not None and (X.dtype, X.device) != (like.dtype, like.device):
        must = f"of the dtype and device of those of fit, {like.dtype} on {like.device}"
        fail(argument, must, f"{X.dtype} on {X.device}")
    finite(argument, X)


def kernel_matrix(owner: str, kernel: Kernel, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Tensor:
    """k(x1, x2).

    Raises:
        ValueError: If the kernel returns anything but an (n, m) matrix of finite floating numbers; names ``owner``.
    """
    K = kernel(x1, x2)
    argument = f"{owner}(kernel=...)"
    if not isinstance(K, Tensor) or K.shape != (len(x1), len(x2)) or not K.is_floating_point():
        got = f"{K.dtype} of shape {tuple(K.shape)}" if isinstance(K, Tensor) else type(K).__name__
        fail(argument, f"a function to floating tensors, here of shape ({len(x1)}, {len(x2)})", got)
    finite(f"{argument}(X, X)", K)
    return K


def working_dtype(kernel: Kernel, X: Float[Tensor, "n d"]) -> torch.dtype:
    """float64 for a kernel that makes float64 of a row in float64, and otherwise the dtype of X.

    Inputs in float32 are exact in float64, so what small differences decide on is as good there as float64 is. A
    network whose parameters are float32 takes no such inputs.
    """
    if X.dtype == torch.float64:
        return torch.float64
    return X.dtype if in_float64(kernel, X[:1], X[:1]) is None else torch.float64


@torch.no_grad()
def in_float64(kernel: Kernel, x1: Tensor, x2: Tensor) -> Tensor | None:
    """The kernel in float64; None if it takes no such inputs, as one of a network's parameters in float32 does not."""
    try:
        K = kernel(x1.double(), x2.double())
    except (RuntimeError, ValueError, TypeError):
        return None
    return K if isinstance(K, Tensor) and K.dtype == torch.float64 else None


def check_symmetric(owner: str, square: Float[Tensor, "n n"]) -> None:
    """Raise ``ValueError`` unless k of some inputs among themselves is symmetric up to rounding."""
    off, size = float((square - square.T).abs().max()), float(square.diagonal().abs().max())
    if off > ROUNDINGS * torch.finfo(square.dtype).eps ** 0.5 * size:
        fail(f"{owner}(kernel=...)", "symmetric", f"k(x, x') − k(x', x) of {off:.2g} beside a diagonal of {size:.2g}")


def check_positive(owner: str, square: Float[Tensor, "n n"], dtype: torch.dtype) -> None:
    """Raise ``ValueError`` unless k(X, X) is positive semi-definite up to a dtype's rounding."""
    slack = ROUNDINGS * torch.finfo(dtype).eps ** 0.5 * float(square.diagonal().abs().max())
    shift = (slack + torch.finfo(dtype).tiny) * torch.eye(len(square), dtype=square.dtype, device=square.device)
    if info := int(torch.linalg.cholesky_ex(square + shift)[1]):
        got = f"one for which row {info} of {len(square)} has no positive pivot"
        fail(f"{owner}(kernel=...)", "positive semi-definite", got)
