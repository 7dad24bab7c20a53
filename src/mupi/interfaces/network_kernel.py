"""Which of mupi's kernels an interface takes, and what it learns of them."""

from mupi.architecture.kernel import LimitKernel
from mupi.architecture.kernel.sigmas import Shared, shared_sigmas
from mupi.checks import fail
from mupi.nets.conv_kernels import ConvKernel
from mupi.nets.perceptron_kernels import MLPKernel

NetworkKernel = MLPKernel | ConvKernel | LimitKernel
"""`mupi.NNGP`, `NTK`, `ConvNNGP`, `ConvNTK`, and what ``arch.nngp(...)`` and ``arch.ntk(...)`` return."""


def reading(owner: str, kernel: NetworkKernel, d: int = 1) -> LimitKernel:
    """The kernel of its architecture, for inputs of width d where it takes any.

    Raises:
        ValueError: If it is none of `NetworkKernel`, or has several rows for an input.
    """
    if isinstance(kernel, MLPKernel):
        return kernel.of(d)
    found = kernel.limit if isinstance(kernel, ConvKernel) else kernel
    if not isinstance(found, LimitKernel):
        got = f"the class {kernel.__name__}" if isinstance(kernel, type) else type(kernel).__name__
        fail(
            f"{owner}(kernel=...)",
            "mupi.NNGP(...), NTK(...), ConvNNGP(...), ConvNTK(...), arch.nngp() or arch.ntk()",
            got,
        )
    if found.each:
        hint = 'take output="mean", or a position'
        fail(f"{owner}(kernel=...)", "of one output a sample", f'{found.name}(output="each")', hint)
    return found


def sigmas_of(owner: str, kernel: NetworkKernel, by: str) -> tuple[Shared, ...]:
    """The σ's that may be learned: see `shared_sigmas`.

    Raises:
        ValueError: As `reading` and `shared_sigmas`.
    """
    return shared_sigmas(owner, reading(owner, kernel), by)
