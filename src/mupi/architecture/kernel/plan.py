"""From the facts of a network to the steps of its kernel.

A covariance is linear in each of its two values, so that of a sum, an average or a normalized value is made of those
of what it reads: the value that comes later is taken apart first, and what remains are covariances of weights with
themselves (0 between different ones), and Gaussian expectations of functions of two jointly Gaussian values. The same
holds of tangent kernels. So x + branch(x), x + pool(x), and a stream that is read many times, are right without a
rule for each: what is shared is found where the parts meet.

Pairs p ≠ p' of positions are computed only of what is asked for them by an average, attention or the like behind it.
"""

from collections.abc import Sequence
from functools import partial

from mupi.architecture.kernel import gaussian_rules, linear_rules, one_input, tensors
from mupi.architecture.kernel.forms import Flat, Function, Linear, Normal, Product, Weight
from mupi.architecture.kernel.listing import Listing, Rule
from mupi.architecture.kernel.settings import Scales
from mupi.architecture.kernel.steps import Key, Program, diagonal, in_best_order
from mupi.architecture.kernel.structure import Structure


def program(
    structure: Structure, scales: dict[int, Scales], wanted: Sequence[Key], *, own: bool, tangent: bool
) -> tuple[Program, Listing]:
    """The steps of what is wanted."""
    first = Listing(rule, structure, scales, own=own, tangent=tangent)
    for key in wanted:
        first.need(key)
    plan = Listing(rule, structure, scales, own=own, tangent=tangent, everywhere=frozenset(first.everywhere))
    places = [plan.need(key) for key in wanted]
    for i, (place, key) in enumerate(zip(places, wanted, strict=True)):
        if place is None:  # a rate of 0 everywhere, say
            positions = structure.positions(key.a)
            axes = positions * (2 if key.everywhere else 1)
            places[i] = plan.add(key, [], partial(tensors.constant, axes=axes, value=0.0))
    return in_best_order(Program(tuple(plan.steps), tuple(p for p in places if p is not None))), plan


def rule(plan: Listing, key: Key) -> Rule:
    """How a quantity is made: see `mupi.architecture.kernel.steps.Key` for their kinds."""
    kind, a, b = key.kind, key.a, key.b
    if kind.partition(":")[0] in one_input.KINDS:
        return (yield from one_input.of_one_input(plan, key))
    if key.everywhere:
        plan.everywhere.add((kind, a, b))
    elif (kind, a, b) in plan.known_everywhere:
        whole = yield Key(kind, a, b, True)
        return None if whole is None else plan.add(key, [whole], diagonal(plan.structure.positions(a)))
    if kind == "gram":
        integers = plan.structure.net.shapes[a].channels is None
        return plan.add(key, [], partial(tensors.gram, a=a, b=b, everywhere=key.everywhere, integers=integers))
    if kind == "average":
        return (yield from gaussian_rules.average(plan, key, "moment"))
    if kind in ("duals", "duals of ψ"):
        return (yield from gaussian_rules.duals(plan, key))
    return (yield from of_pairs(plan, key))


def of_pairs(plan: Listing, key: Key) -> Rule:
    """A moment E a b, or the tangent kernel of a and b."""
    a, b = key.a, key.b
    facts = plan.structure
    if facts.independent(a, b):
        return (yield from linear_rules.product_of_means(plan, key)) if key.kind == "moment" else None
    on_left = a >= b
    later, other = (a, b) if on_left else (b, a)
    form, other_form = facts[later].form, facts[other].form
    if isinstance(form, Normal) and key.kind == "tangent" and later != other:
        linear_rules.check_alone(plan, later, other)
    if isinstance(form, Linear | Normal):
        return (
            yield from (linear_rules.both_sides(plan, key) if a == b else linear_rules.one_side(plan, key, on_left))
        )
    if isinstance(form, Flat) and isinstance(other_form, Flat):
        return (yield from linear_rules.flat(plan, key))
    if isinstance(form, Weight) and isinstance(other_form, Weight):
        return (yield from gaussian_rules.weight(plan, key))
    if isinstance(form, Function) and isinstance(other_form, Function):
        return (yield from gaussian_rules.functions(plan, key))
    if isinstance(form, Function) and facts[other].gaussian:
        return (yield from gaussian_rules.beside_gaussian(plan, key, on_left))
    if isinstance(other_form, Function) and facts[later].gaussian:
        return (yield from gaussian_rules.beside_gaussian(plan, key, not on_left))
    if isinstance(other_form, Linear | Normal):
        return (yield from linear_rules.one_side(plan, key, not on_left))
    if isinstance(form, Product) and a == b:
        return (yield from gaussian_rules.product(plan, key))
    facts.refuse(later, f"its covariance with {facts.net.nodes[other]} has no closed form here")
