"""The two kernels of a network that is trained in the kernel regime: of f at the start, and the tangent kernel."""

from dataclasses import dataclass, replace

from mupi.architecture.coordinates import Normalize
from mupi.architecture.finite_rules import finite_fan_in
from mupi.architecture.kernel import LimitKernel, kernel
from mupi.architecture.start import Start
from mupi.architecture.weights import Conv, Dense, Embed, Table, WeightOperation
from mupi.checks import fail
from mupi.mu.optimizers import Optimizer
from mupi.mu.regime import Regime


@dataclass(frozen=True)
class TangentKernels:
    """Both, of rows (sample, position) if the network has outputs at positions.

    Attributes:
        start: The limit of E f_0(x)f_0(x').
        tangent: The limit of Σ_θ η_θ/η ∂f(x)/∂θ ∂f(x')/∂θ.
    """

    start: LimitKernel
    tangent: LimitKernel


def tangent_kernels(regime: Regime, start: Start, optimizer: Optimizer) -> TangentKernels:
    """Those of the networks that `FiniteNetwork` makes, trained with an optimizer's multipliers of rates.

    There a weight of fan-in m·n is W = α n^{−a} w, w ~ N(0, σ² n^{−2b}/m); `mupi.architecture.kernel.kernel` has
    W = σ_w w/√(m n) with w ~ N(0, 1) and a rate ω. So σ_w = ασ, and since w moves W by its gradient times α² n^{−2a−c},
    which for a weight whose update moves f is α² in the units of the limit, ω σ_w² = α² m times the multiplier of its
    rate. A bias α α_b β moves with (α α_b)², a gain or shift with 1. Readouts that start below n^{−½} are not seen in
    f_0.

    Raises:
        ValueError: If the network's f is not Gaussian at the start or has no closed form, with the reason, or if
            weights of layers start at 0.
    """
    net, of, p = regime.net, replace(optimizer, lr=1.0).rate, regime.parametrization
    σ_w, σ_b, ω, β = ({} for _ in range(4))
    for place, node in enumerate(net):
        operation, owner, role = node.operation, node.owner, net.role(place)
        if isinstance(operation, Normalize) and (operation.gain or operation.shift):
            ω[owner] = β[owner] = of("vector") * regime.vectors_move
        if not isinstance(operation, WeightOperation) or role == "finite":
            continue
        at = start.place(net, place, regime.layers[place], 1, p)
        α, moves = at.scaling.scale, regime.moves(place)
        if isinstance(operation, Dense | Conv) and operation.bias:
            αβ = α * at.scaling.bias_scale
            σ_b[owner] = αβ * start.sigma_b
            β[owner] = αβ**2 * of("vector") * (role == "readout" or regime.vectors_move)
        m, σ = 1.0, at.embed_std
        if not isinstance(operation, Embed | Table):
            read, sides = net.shapes[node.inputs[0]], operation.size if isinstance(operation, Conv) else ()
            m = finite_fan_in(read, sides)
            σ = at.weighing(read, sides, bias=operation.bias).std * m**0.5
        if α * σ == 0 and role != "readout":
            must = f"μP where {node} starts at 0"
            fail("MuLimit(parametrization=...)", must, "one in the kernel regime")
        σ_w[owner], ω[owner] = α * σ, m / (σ**2 or 1.0) * of(role) * moves
    readouts = {net.nodes[i].owner for i in range(len(net)) if net.role(i) == "readout"}
    at_start = σ_w if p.initial_gp_limit else σ_w | dict.fromkeys(readouts, 0.0)
    if any(σ_w[name] == 0 for name in readouts):
        # No gradient passes a readout that starts at 0, and its own is that of any other start.
        σ_w = σ_w | dict.fromkeys(readouts, start.output_scale)
        ω, β = ({name: rate * (name in readouts) for name, rate in rates.items()} for rates in (ω, β))
    each = "each" if net.output.positions else None
    return TangentKernels(
        kernel(net, "nngp", at_start, σ_b, output=each, name="MuLimit"),
        kernel(net, "ntk", σ_w, σ_b, ω, β, output=each, name="MuLimit"),
    )
