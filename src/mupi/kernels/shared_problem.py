"""What processes that solve one kernel regression have to come with alike."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.distributed.processes import Processes
from mupi.kernels.given import ROUNDINGS, Kernel, kernel_matrix
from mupi.kernels.ridge_system import OWNER

ROWS = 16
"""On how many inputs, among themselves, kernels are compared."""


def check_shared(processes: Processes, kernel: Kernel, X: Float[Tensor, "n d"], others: Mapping[str, Any]) -> None:
    """Raise ``ValueError``, in all, unless each has come with the same inputs, and the same kernel up to rounding.

    Args:
        processes: They.
        kernel: k, which processors of several kinds round in several ways.
        X: The inputs.
        others: What has to be the same too, by what errors call it.
    """
    if processes.together is None:
        return
    processes.check_same({f"{OWNER}.fit(X)": X, **others})
    some = X[:: -(-len(X) // ROWS)]
    own = processes.agreed(lambda: kernel_matrix(OWNER, kernel, some, some)).double()
    first = own.clone()
    processes.together.from_first(first)
    size, off = float(first.diagonal().abs().max()), processes.largest(float((own - first).abs().max()))
    if off > ROUNDINGS * torch.finfo(X.dtype).eps ** 0.5 * size:
        got = f"others, by {off:.2g} beside a diagonal of {size:.2g}"
        fail(f"{OWNER}(kernel=...)", "the same in all processes", got, "give its network the same weights in each")
