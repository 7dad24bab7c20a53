"""Read the NNGP or the NTK from a description."""

from collections.abc import Sequence
from math import prod
from typing import Literal

from mupi.architecture.description import Description, Node
from mupi.architecture.kernel.limit_kernel import LimitKernel, LimitKernels
from mupi.architecture.kernel.settings import Setting, scales
from mupi.architecture.operation import Operation
from mupi.architecture.positions import AveragePool, Reshape, Select
from mupi.checks import fail


def kernel(
    net: Description,
    kind: Literal["nngp", "ntk"],
    sigma_w: Setting = None,
    sigma_b: Setting = None,
    weight_lr: Setting = None,
    bias_lr: Setting = None,
    *,
    output: str | int | None = None,
    name: str = "",
) -> LimitKernel:
    """The covariance of one output at the start, or its tangent kernel Σ_θ ω_θ ∂f(x)/∂θ ∂f(x')/∂θ, at infinite width.

    Every weight is in NTK parametrization: it maps x to σ_w W x/√fan_in + σ_b b, with all entries N(0, 1), and learns
    at a rate of its own. Its output is a sum over infinitely many coordinates, so Gaussian, with covariance

    K(p, p') = σ_w² (mean of E φ(u)φ(v) over what it reads) + σ_b²,
    Θ(p, p') = ω σ_w² (the same mean) + β + σ_w² (mean of Θ E φ'(u)φ'(v)),  (u, v) ~ N(0, K before),

    between positions p and p' of two inputs (Lee et al. 2018; Jacot et al. 2018; Novak et al. 2019; Arora et al.
    2019). An embedding is a weight that reads one-hot vectors (fan_in 1), a table a weight for each position. Sums,
    averages over positions, normalizations and products of independent values act on K and Θ as they do on values;
    LayerNorm and RMSNorm divide by √variance, which is no longer random. The tangent of a gain is, h h' at a
    coordinate h, and behind φ it makes ω E ψ(u)ψ(v) with ψ(x) = xφ'(x): see `mupi.architecture.kernel.gains`.
    Attention with logits q·k/d is uniform at the start; dropout is left out, as in evaluation.

    Args:
        net: The network.
        kind: "nngp" or "ntk".
        sigma_w: σ_w, a number, or a mapping from names of nodes or roles ("input", "hidden", "readout") to numbers;
            None for √2, which keeps variances through a ReLU.
        sigma_b: σ_b, likewise; None for 0.
        weight_lr: ω, likewise; also that of a normalization's gain. None for 1.
        bias_lr: β, the rate of a bias σ_b b as it is added, likewise; also that of a normalization's shift. None for
            σ_b² (the rate of b is then that of W), and 1 for a shift.
        output: For networks with an output at each position. "each": rows and columns of the kernel matrix are pairs
            (sample, position), position by position; "mean": of the mean over positions; a number: of the output at
            that one, counted over all axes.
        name: What the kernel is called in messages; empty for ``arch.nngp`` and ``arch.ntk``.

    Raises:
        ValueError: If the limit is not Gaussian, or has no closed form here: names the operation, and the reason; for
            an ``output`` that does not fit; or for wrong σ's or rates.
    """
    name = name or f"arch.{kind}"
    net = _with_output(name, net, output)
    found = scales(name, net, sigma_w, sigma_b, weight_lr, bias_lr)
    out = LimitKernel(net, kind == "ntk", tuple(sorted(found.items())), output == "each", name)
    _ = out.compiled  # says what has no closed form
    return out


def kernels(
    net: Description,
    kinds: Sequence[str],
    sigma_w: Setting = None,
    sigma_b: Setting = None,
    weight_lr: Setting = None,
    bias_lr: Setting = None,
    *,
    output: str | int | None = None,
    name: str = "arch.kernels",
) -> LimitKernels:
    """Both kernels of a network, of one pass.

    Args:
        net: The network.
        kinds: "nngp", "ntk" or both, in the order of the results.
        sigma_w: As of `kernel`.
        sigma_b: As of `kernel`.
        weight_lr: As of `kernel`.
        bias_lr: As of `kernel`.
        output: As of `kernel`.
        name: What they are called in messages.

    Raises:
        ValueError: For other kinds, or one twice; and as `kernel`.
    """
    kinds = tuple(kinds)
    if not kinds or len(set(kinds)) < len(kinds) or not all(kind in ("nngp", "ntk") for kind in kinds):
        fail(f"{name}(kinds=...)", '"nngp", "ntk" or both, each once', repr(kinds))
    net = _with_output(name, net, output)
    found = scales(name, net, sigma_w, sigma_b, weight_lr, bias_lr)
    out = LimitKernels(net, kinds, tuple(sorted(found.items())), output == "each", name)
    _ = out.compiled  # says what has no closed form
    return out


def _with_output(name: str, net: Description, output: str | int | None) -> Description:
    """The network, with what is asked of its output."""
    argument, positions = f"{name}(output=...)", net.output.positions
    if not positions:
        if output is not None:
            fail(argument, "None for a network whose output has no positions", repr(output))
        return net
    count = prod(positions)
    if output == "each":
        return net
    if output == "mean":
        return _followed_by(net, AveragePool())
    if isinstance(output, int) and not isinstance(output, bool) and -count <= output < count:
        flat = net if len(positions) == 1 else _followed_by(net, Reshape((count,)))
        return _followed_by(flat, Select(output % count))
    must = f'"each", "mean" or a position below {count}, for a network with an output at each of {positions}'
    fail(argument, must, repr(output))


def _followed_by(net: Description, operation: Operation) -> Description:
    """The network with another operation on its output."""
    return Description(
        (*net.nodes, Node(f"{type(operation).__name__.lower()} of the output", operation, (len(net) - 1,)))
    )
