"""Weights in the π-limit; one that reads φ of a layer is a π-layer: φ, an average over positions and weights in one."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from mupi.activations import Identity
from mupi.architecture.pi_matrices import conv_matrix, dense_matrix, embedding, table, two_axes
from mupi.architecture.pi_plan import Plan, Step, apply
from mupi.architecture.pi_positions import Move, grid, is_block
from mupi.architecture.pi_rules import Rule, pi
from mupi.architecture.pi_values import Factor, Linear, Pending, Value
from mupi.architecture.positions import AveragePool
from mupi.architecture.rules import Refused
from mupi.architecture.shape import Width
from mupi.architecture.weights import Conv, Dense, Embed, Table
from mupi.features import Expansion, Features, Gate, Hermite, Neuron
from mupi.layers import AveragedReadout, FlattenedReadout, PiConv2d, PiLinear, conv_initialization, pi_initialization


@pi.register(Dense)
def _dense(operation: Dense, plan: Plan, place: int, x: Value) -> Rule:
    flat = plan.net.shapes[plan.net.nodes[place].inputs[0]].flat
    if isinstance(x, Linear) and (flat or not isinstance(operation.out, Width)):
        step = pi_layer(operation, plan, place, _as_identity(plan, place, x), linear=True)
    else:
        step = (
            pi_layer(operation, plan, place, x) if isinstance(x, Pending) else dense_matrix(operation, plan, place, x)
        )
    return plan.written(place), step


@pi.register(Conv)
def _conv(operation: Conv, plan: Plan, place: int, x: Value) -> Rule:
    if isinstance(x, Linear) and not isinstance(operation.out, Width):
        step = pi_layer(operation, plan, place, _as_identity(plan, place, x), linear=True)
    elif isinstance(x, Pending):
        step = pi_layer(operation, plan, place, x)
    else:
        step = conv_matrix(operation, plan, place, x)
    return plan.written(place), step


@pi.register(Embed)
def _embed(operation: Embed, plan: Plan, place: int, x: Value) -> Rule:
    return plan.written(place), embedding(operation, plan, place)


@pi.register(Table)
def _table(operation: Table, plan: Plan, place: int) -> Rule:
    return plan.written(place), table(operation, plan, place)


def _as_identity(plan: Plan, place: int, x: Linear) -> Pending:
    """A linear value that is read out, or by weights for each position: φ is the identity."""
    return Pending((Factor(plan.net.nodes[place].inputs[0], x.junction, Identity()),))


class Kind(NamedTuple):
    """Of a π-layer: its class, with what beside ranks it takes; what is done with it; its kernel, if it convolves."""

    layer: Callable[..., nn.Module]
    call: Callable[..., Tensor]
    kernel: tuple[int, int] | None = None


def pi_layer(operation: Dense | Conv, plan: Plan, place: int, x: Pending, linear: bool = False) -> Step:
    """Register it, with the multipliers of its role; of a linear value the degree 1 is all, whatever the features."""
    node, options, role = plan.net.nodes[place], plan.options, plan.net.role(place)
    plan.scales[place] = options.output_scale if role == "readout" else 1.0
    kind, rank_out = kind_of(operation, plan, place, x), partial(plan.size, place)
    activations, junctions = ([getattr(f, name) for f in x.factors] for name in ("activation", "junction"))

    def draw() -> Expansion:
        std, ranks = options.readout_std if role == "readout" else None, list(map(plan.rank, junctions))
        if kind.kernel is None:
            return pi_initialization(ranks, rank_out(), std, options.generator)
        return conv_initialization(ranks, rank_out(), kind.kernel, std, options.generator)

    def finish(initial: Expansion) -> nn.Module:
        first, *second = activations
        neuron: Neuron = Gate(first, second[0], plan.rank(junctions[0])) if second else first
        features: Features = Hermite(1) if linear else plan.features_of(x.factors)
        # φ may come with a multiplier, which is none of the bias.
        scales = dict(scale=plan.scales[place] * x.scale, bias_scale=options.bias_scale / x.scale)
        chosen = dict(features=features, activation=neuron, initial=initial, bias=operation.bias)
        return kind.layer(initial.b.shape[1], rank_out(), **scales, **chosen, **options.like)

    if plan.once(place, (operation, role, *activations, x.moves, x.scale), *junctions):
        plan.pi_layer(node.owner, draw, finish, x.factors, role)
    return Step(kind.call, node.owner)


def kind_of(operation: Dense | Conv, plan: Plan, place: int, x: Pending) -> Kind:
    """Which π-layer reads φ, or averages of it."""
    node, role = plan.net.nodes[place], plan.net.role(place)
    read = plan.net.shapes[node.inputs[0]]
    after = read.flat or read.positions
    before = x.moves[0][1] if x.moves else after
    all_averaged = [op for op, _ in x.moves] == [AveragePool()]
    block = len(x.moves) == 1 and len(before) == 2 and is_block(*x.moves[0])
    if role == "readout" and x.moves and not (all_averaged or (block and read.flat)):
        raise Refused(
            "averages of φ over some positions come before the output's weight, so that it has no one feature kernel",
            "average behind it, which is the same",
        )
    if isinstance(operation, Dense) and not read.flat:
        if all_averaged:
            return Kind(AveragedReadout, apply)
        return Kind(PiLinear, partial(_moved, move=Move(x.moves, after)) if x.moves else apply)
    pool = x.moves[0][0].size if block and isinstance(x.moves[0][0], AveragePool) else (1, 1)
    move = Move(x.moves, after, grids=True) if x.moves and not block else None
    call = partial(_on_grid, before=grid(before), axes=len(before), after=plan.net.shapes[place].positions, move=move)
    if isinstance(operation, Conv):
        shape = two_axes(operation)
        return Kind(partial(PiConv2d, pool=pool, **shape), call, shape["kernel_size"])
    kernel = grid(after)
    layer = FlattenedReadout if role == "readout" else PiConv2d
    return Kind(partial(layer, kernel_size=kernel, pool=pool, padding=0), call, kernel)


def _moved(layer: PiLinear, g: Tensor, move: Move) -> Tensor:
    return layer(g, move)


def _on_grid(
    layer: PiConv2d, g: Tensor, before: tuple[int, int], axes: int, after: tuple[int, ...], move: Move | None
) -> Tensor:
    """A convolution of positions that may be one axis, or more than two."""
    batch = g.shape[: g.ndim - 1 - axes]
    out = layer(g.reshape(*batch, *before, g.shape[-1]), move)
    return out.reshape(*batch, *after, out.shape[-1])
