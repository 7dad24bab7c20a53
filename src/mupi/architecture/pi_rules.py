"""What each operation is in the π-limit: a rule makes a value of the values that it reads, and a step for tensors."""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from mupi.activations import Activation, Identity, as_activation
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.operation import Operation
from mupi.architecture.pi_plan import Plan, Step, apply
from mupi.architecture.pi_positions import aligned, joined, moved, moved_data
from mupi.architecture.pi_values import Data, Factor, Linear, Pending, Value
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.rules import Refused, Rules
from mupi.layers import Center as RunningCenter
from mupi.layers import Heads, Norm, normalize

pi = Rules("a π-limit", "mupi.architecture.pi.register")
"""Rules (operation, plan, place, *values that it reads) ↦ (value, step)."""

Rule = tuple[Value, Step]


@pi.register(Activate)
def _activate(operation: Activate, plan: Plan, place: int, x: Value) -> Rule:
    match x:
        case Data():
            return x, Step(operation.activation)
        case Linear(junction):
            plan.whole(place, junction, "φ would read")
            return Pending((Factor(plan.net.nodes[place].inputs[0], junction, operation.activation),)), Step()
        case Pending():
            raise Refused("φ of φ is no function of one Gaussian", "put a weight between, or write both as one φ")


@pi.register(Add)
def _add(operation: Add, plan: Plan, place: int, x: Value, y: Value) -> Rule:
    if isinstance(x, Pending) or isinstance(y, Pending):
        raise Refused(
            "a sum with φ of a layer is no function of one Gaussian, so what a weight makes of it has no kernel κ_φ",
            "add before φ, or put a weight behind it, as pre-activation residual networks do",
        )
    value = plan.join(x, y) if isinstance(x, Linear) and isinstance(y, Linear) else x
    return value, Step(partial(together, torch.add, axes=axes_of(plan, place)))


@pi.register(Multiply)
def _multiply(operation: Multiply, plan: Plan, place: int, x: Value, y: Value) -> Rule:
    if isinstance(x, Data) and isinstance(y, Data):
        return x, Step(partial(together, torch.mul, axes=axes_of(plan, place)))
    factors = [*factors_of(plan, place, 0, x), *factors_of(plan, place, 1, y)]
    if len(factors) > 2:
        raise Refused("its kernel would be of as many Gaussians as layers are multiplied", "multiply two at a time")
    first, second = factors
    scale = prod((value.scale for value in (x, y) if isinstance(value, Pending)), start=1.0)
    if first.place == second.place:
        φ = as_activation(Product(first.activation, second.activation))
        return Pending((Factor(first.place, first.junction, φ),), (), scale), Step(first_of)
    reason = "both layers are of one junction, so that their coordinates depend on each other"
    plan.later(place, lambda: reason if plan.junctions.same(first.junction, second.junction) else "")
    for factor in factors:
        plan.whole(place, factor.junction, "it would multiply")
    return Pending((first, second), (), scale), Step(partial(together, side_by_side, axes=axes_of(plan, place)))


@dataclass(frozen=True)
class Product:
    """φ(u)·φ'(u) of one Gaussian, which is a function of it."""

    first: Activation
    second: Activation

    def __call__(self, u: torch.Tensor) -> torch.Tensor:
        """The product."""
        return self.first(u) * self.second(u)


def factors_of(plan: Plan, place: int, i: int, x: Value) -> tuple[Factor, ...]:
    """What a product makes of the i-th value that it reads."""
    match x:
        case Linear(junction):
            return (Factor(plan.net.nodes[place].inputs[i], junction, Identity()),)
        case Pending(factors, ()):
            return factors
        case _:
            raise Refused("averages of φ are no φ of a Gaussian", "multiply before the average")


def first_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Both are the same."""
    return x


def side_by_side(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The vectors of two junctions at the same positions."""
    positions = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    return torch.cat([v.expand(*positions, v.shape[-1]) for v in (x, y)], -1)


@pi.register(Scale)
def _scale(operation: Scale, plan: Plan, place: int, x: Value) -> Rule:
    factor, source = operation.factor, plan.net.nodes[place].inputs[0]
    if operation.exponent and not isinstance(x, Data):
        raise Refused(
            f"n^{operation.exponent:g} has no limit: the widths' exponents are the parametrization's",
            "leave n out of the network: the π-limit is that of μP",
        )
    if operation.exponent:
        raise Refused(
            f"n^{operation.exponent:g} has no limit: the output has multipliers of its own",
            "leave n out of the network, and see output_scale",
        )
    if isinstance(x, Pending):
        if factor <= 0:
            raise Refused(f"φ is multiplied by {factor}", "multiply behind the weight")
        return x.scaled(factor), Step()
    if factor >= 0 and source in plan.scales and plan.absorbs(source):
        plan.scales[source] *= factor
        return x, Step()
    return x, Step(partial(torch.mul, other=factor))


@pi.register(Normalize)
def _normalize(operation: Normalize, plan: Plan, place: int, x: Value) -> Rule:
    if not isinstance(x, Linear):
        raise Refused("φ of a layer less its mean and divided by its size is no φ of a Gaussian", "normalize before φ")
    plan.whole(place, x.junction, "it would normalize")
    if not operation.gain and not operation.shift:
        return x, Step(partial(normalize, eps=operation.eps))
    node, options = plan.net.nodes[place], plan.options
    if plan.once(place, operation, x.junction):
        arguments: dict[str, Any] = {name: options.like[name] for name in ("dtype", "device")}
        arguments |= dict(gain=operation.gain, shift=operation.shift, bias_scale=options.bias_scale)
        plan.ordinary(node.owner, lambda: Norm(plan.rank(x.junction), operation.eps, **arguments), "hidden")
    return x, Step(apply, node.owner)


@pi.register(Center)
def _center(operation: Center, plan: Plan, place: int, x: Value) -> Rule:
    if isinstance(x, Pending):
        raise Refused("φ less its mean over the batch is not there", "center before φ")
    node, channels = plan.net.nodes[place], plan.net.shapes[place].channels
    like: dict[str, Any] = {name: plan.options.like[name] for name in ("dtype", "device")}

    def make() -> nn.Module:
        if isinstance(x, Linear):
            return RunningCenter(plan.rank(x.junction), **like)
        assert isinstance(channels, int)
        return RunningCenter(channels, **like)

    plan.ordinary(node.name, make, "hidden")
    return x, Step(apply, node.name)


@pi.register(Dropout)
def _dropout(operation: Dropout, plan: Plan, place: int, x: Value) -> Rule:
    """Of a layer that a weight reads: the identity, since the mean of the mask over n coordinates is its expectation.

    C (m∘φ(h))/((1−p)√n) → C ψ(g) by the law of large numbers, and so in each step of training. φ, a norm or logits of
    the coordinates that are left are other functions: they see whether a coordinate is 0.
    """
    if isinstance(x, Data):
        name = plan.net.nodes[place].name
        plan.ordinary(name, lambda: nn.Dropout(operation.p), "hidden")  # data have finitely many coordinates
        return x, Step(apply, name)
    if isinstance(x, Linear) and operation.p and (reader := _first_that_bends(plan, place)):
        raise Refused(
            f"coordinates that are left out in training make {reader} read what is not Gaussian",
            "use p=0: in a limit, dropout of what a weight reads is the identity",
        )
    return x, Step()


def _first_that_bends(plan: Plan, place: int) -> str:
    """What reads a linear value, or a sum that it is in, and is not linear in it; empty if weights do before."""
    for reader in plan.net.readers[place]:
        operation = plan.operation(reader)
        if isinstance(operation, Activate | Normalize | Multiply | Attention):
            return f"`{plan.net.nodes[reader].name}`"
        if isinstance(operation, LINEAR) and (found := _first_that_bends(plan, reader)):
            return found
    return ""


@pi.register(AveragePool)
@pi.register(Reshape)
@pi.register(Permute)
@pi.register(Select)
def _move(operation: Operation, plan: Plan, place: int, x: Value) -> Rule:
    read = plan.net.shapes[plan.net.nodes[place].inputs[0]]
    if isinstance(x, Data):
        axes = tuple(size for size in read.axes if isinstance(size, int))
        return x, Step(partial(moved_data, operation=operation, axes=axes))
    # φ of a position is φ of it wherever it is; only averages must wait.
    if isinstance(x, Pending) and (x.moves or isinstance(operation, AveragePool)):
        return x.moved(operation, read.positions), Step()
    return x, Step(partial(moved, operation=operation, positions=read.positions))


@pi.register(Flatten)
def _flatten(operation: Flatten, plan: Plan, place: int, x: Value) -> Rule:
    return x, Step()  # the weight that reads it has entries for each position


LINEAR = (Add, Scale, Dropout, Center, AveragePool, Reshape, Permute, Select, Flatten, Join)


@pi.register(Join)
def _join(operation: Join, plan: Plan, place: int, x: Value, y: Value) -> Rule:
    shape = plan.net.shapes[place]
    step = Step(partial(joined, axes=len(shape.axes)))
    match x, y:
        case Data(), Data():
            return x, step
        case Linear(), Linear():
            return plan.join(x, y), step
        case Pending((f,), (), a), Pending((g,), (), b) if f.activation == g.activation and a == b:
            joint = plan.join(Linear(f.junction), Linear(g.junction))
            return Pending((Factor(place, joint.junction, f.activation),), (), a), step
        case _:
            raise Refused("φ of one layer and something else have no φ in common", "join before φ")


@pi.register(Attention)
def _attention(operation: Attention, plan: Plan, place: int, q: Value, k: Value, v: Value) -> Rule:
    if operation.exponent != -1:
        raise Refused(
            f"logits q·k·d^{operation.exponent:g} have no limit: q·k/d is the inner product ⟨g_q, g_k⟩, and the rest "
            "grows with the width d of a head",
            "scale by 1/d, as μP does: in SDPA scale=c/d with a number c, such as √d of the width that you have",
        )
    if not (isinstance(q, Linear) and isinstance(k, Linear) and isinstance(v, Linear)):
        raise Refused("queries, keys and values that are φ of a layer have no g", "put a weight behind φ")
    for x in (plan.join(q, k), v):
        plan.split(place, x, operation.heads)
    name, rank = plan.net.nodes[place].name, plan.options.rank

    def make() -> nn.Module:
        default = rank / (plan.rank(q.junction) // operation.heads) ** 0.5
        return Heads(operation.heads, operation.causal, default if operation.factor is None else operation.factor)

    plan.ordinary(name, make, "hidden")
    return v, Step(apply, name)


def axes_of(plan: Plan, place: int) -> tuple[int, int]:
    """How many axes of positions the two values have that a node reads."""
    first, second = (len(plan.net.shapes[i].positions) for i in plan.net.nodes[place].inputs)
    return first, second


def together(function: Any, x: torch.Tensor, y: torch.Tensor, axes: tuple[int, int]) -> torch.Tensor:
    """A function of two values, coordinate by coordinate."""
    return function(*aligned(x, y, axes))
