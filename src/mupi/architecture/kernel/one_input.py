"""Quantities of one input: variances, means, and what they make."""

from functools import partial

from mupi.architecture.kernel import tensors
from mupi.architecture.kernel.forms import Function, Linear, Normal, Product
from mupi.architecture.kernel.listing import Listing, Rule
from mupi.architecture.kernel.steps import Key

KINDS = ("variance", "mean", "factor", "slope", "slope of ψ")
"""V(h) = E h², E a, 1/√(Var + eps), E φ'(h), and E ψ'(h) of ψ(x) = xφ'(x)."""


def of_one_input(plan: Listing, key: Key) -> Rule:
    """A quantity of `KINDS`; with a side behind a colon, that side's."""
    kind, _, side = key.kind.partition(":")
    if not plan.own:
        plan.per_input[Key(kind, key.a)] = None
        wanted = Key(kind, key.a)
        return plan.add(key, [], partial(tensors.of_side, on_the_left=side == "left", key=wanted))
    if side:
        return (yield Key(kind, key.a))
    a, fact = key.a, plan.structure[key.a]
    form = fact.form
    if kind == "variance":
        return (yield Key("moment", a, a))
    if kind == "factor":
        assert isinstance(form, Normal)
        moment = yield Key("moment", fact.inputs[0], fact.inputs[0])
        mean_of = None if centered(plan, fact.inputs[0]) or not form.subtract else (yield Key("mean", fact.inputs[0]))
        reads = [i for i in (moment, mean_of) if i is not None]
        return plan.add(key, reads, partial(tensors.factor, eps=form.eps))
    if kind in ("slope", "slope of ψ"):
        assert isinstance(form, Function)
        variance = yield Key("variance", fact.inputs[0])
        assert variance is not None
        φ = form.activation if kind == "slope" else plan.times_slope(a)
        return plan.add(key, [variance], partial(tensors.mean_slope, φ=φ))
    return (yield from mean(plan, key))


def mean(plan: Listing, key: Key) -> Rule:
    """E a."""
    fact = plan.structure[key.a]
    form = fact.form
    if centered(plan, key.a):
        return None
    if isinstance(form, Function):
        variance = yield Key("variance", fact.inputs[0])
        assert variance is not None
        return plan.add(key, [variance], partial(tensors.mean, φ=form.activation))
    if isinstance(form, Normal):
        reads = [(yield Key("factor", key.a)), (yield Key("mean", fact.inputs[0]))]
        return plan.add(key, [i for i in reads if i is not None], tensors.times)
    if isinstance(form, Product):
        u, v = fact.inputs
        reads = [(yield Key("mean", u)), (yield Key("mean", v))]
        return plan.add(key, [i for i in reads if i is not None], tensors.times)
    assert isinstance(form, Linear), form
    parts = []
    for which, side in form.terms:
        part = yield Key("mean", fact.inputs[which])
        if part is not None:
            parts.append(plan.add(key, [part], partial(tensors.on_input, side=side)))
    return plan.sum(key, parts)


def centered(plan: Listing, place: int) -> bool:
    """Whether E a = 0 for all inputs."""
    fact = plan.structure[place]
    if fact.gaussian:
        return True
    match fact.form:
        case Normal():
            return fact.form.subtract or centered(plan, fact.inputs[0])
        case Linear():
            return all(centered(plan, fact.inputs[which]) for which, _ in fact.form.terms)
        case Product():
            return any(centered(plan, i) for i in fact.inputs)
        case Function():
            return not fact.form.activation.has_degree(0)
    return False
