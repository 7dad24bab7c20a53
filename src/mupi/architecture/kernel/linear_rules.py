"""Moments and tangents of what is linear in each of its sides: sums, averages, normalized values."""

from functools import partial

from mupi.architecture.kernel import tensors
from mupi.architecture.kernel.forms import Linear, Normal
from mupi.architecture.kernel.listing import Listing, Rule
from mupi.architecture.kernel.one_input import centered
from mupi.architecture.kernel.sides import Place, Times
from mupi.architecture.kernel.steps import Key, diagonal
from mupi.architecture.kernel.structure import parameters_of


def product_of_means(plan: Listing, key: Key) -> Rule:
    """E a E b, of independent values."""
    if centered(plan, key.a) or centered(plan, key.b):
        return None
    reads = [(yield Key("mean:left", key.a)), (yield Key("mean:right", key.b))]
    return plan.add(key, [i for i in reads if i is not None], partial(tensors.outer, others=plan.counts(key)))


def both_sides(plan: Listing, key: Key) -> Rule:
    """Of a sum, an average or a normalized value with itself."""
    fact, kind, everywhere = plan.structure[key.a], key.kind, key.everywhere
    if isinstance(fact.form, Normal):
        return (yield from normalized(plan, key))
    assert isinstance(fact.form, Linear)
    parts = []
    for i, left in fact.form.terms:
        for j, right in fact.form.terms:
            if not everywhere and i != j and isinstance(left, Place):
                continue  # at different positions
            a, b = fact.inputs[i], fact.inputs[j]
            whole = everywhere or not ((left.pointwise and right.pointwise) or (i == j and left.local))
            part = yield Key(kind, a, b, whole)
            if part is None:
                continue
            if isinstance(left, Times) and isinstance(right, Times):
                factor = left.factor * right.factor
                parts.append(part if factor == 1 else plan.add(key, [part], partial(tensors.scaled, factor=factor)))
                continue
            at = len(plan.structure.positions(a)) if whole else None
            parts.append(plan.add(key, [part], partial(tensors.on_both, left=left, right=right, at=at)))
            if whole and not everywhere:
                parts[-1] = plan.add(key, [parts[-1]], diagonal(plan.structure.positions(key.a)))
    return plan.sum(key, parts)


def one_side(plan: Listing, key: Key, on_left: bool) -> Rule:
    """Of a sum, an average or a normalized value with another value."""
    kind, everywhere = key.kind, key.everywhere
    place, other = (key.a, key.b) if on_left else (key.b, key.a)
    fact = plan.structure[place]

    def of(read: int, whole: bool) -> Key:
        return Key(kind, read, other, whole) if on_left else Key(kind, other, read, whole)

    if isinstance(fact.form, Normal):
        (read,) = fact.inputs
        factor = yield Key("factor:left" if on_left else "factor:right", place)
        part = yield of(read, everywhere)
        parts = [] if part is None else [part]
        if kind == "moment" and fact.form.subtract and not centered(plan, read) and not centered(plan, other):
            means = [(yield Key("mean:left", of(read, False).a)), (yield Key("mean:right", of(read, False).b))]
            outer = plan.add(key, [m for m in means if m is not None], partial(tensors.outer, others=plan.counts(key)))
            parts.append(plan.add(key, [outer], partial(tensors.scaled, factor=-1.0)))
        whole = plan.sum(key, parts)
        if whole is None or factor is None:
            return None
        others = plan.count(other, everywhere)
        return plan.add(key, [whole, factor], partial(tensors.times_side, on_the_left=on_left, others=others))
    assert isinstance(fact.form, Linear)
    parts = []
    for which, side in fact.form.terms:
        whole = everywhere or not side.pointwise
        part = yield of(fact.inputs[which], whole)
        if part is None:
            continue
        if not (isinstance(side, Times) and side.factor == 1):
            at = len(plan.structure.positions(key.a)) if whole and not on_left else 0
            part = plan.add(key, [part], partial(tensors.on_one, side=side, at=at))
        if whole and not everywhere:
            part = plan.add(key, [part], diagonal(plan.structure.positions(key.a)))
        parts.append(part)
    return plan.sum(key, parts)


def normalized(plan: Listing, key: Key) -> Rule:
    """Of a normalized value with itself: a gain γ = 1 and a shift β = 0 have tangents of their own."""
    fact, everywhere = plan.structure[key.a], key.everywhere
    form, (read,) = fact.form, fact.inputs
    assert isinstance(form, Normal)
    others = plan.count(key.a, everywhere)
    factors = [(yield Key("factor:left", key.a)), (yield Key("factor:right", key.a))]
    part = yield Key(key.kind, read, read, everywhere)
    parts = [] if part is None else [part]
    if key.kind == "moment" and form.subtract and not centered(plan, read):
        means = [(yield Key("mean:left", read)), (yield Key("mean:right", read))]
        outer = plan.add(key, [m for m in means if m is not None], partial(tensors.outer, others=(others, others)))
        parts.append(plan.add(key, [outer], partial(tensors.scaled, factor=-1.0)))
    whole = plan.sum(key, parts)
    out = None
    if whole is not None:
        reads = [whole, *(f for f in factors if f is not None)]
        out = plan.add(key, reads, partial(tensors.times_sides, others=others))
    if key.kind == "moment" or not (form.gain or form.shift):
        return out
    scales = plan.scales[key.a]
    moment = yield Key("moment", key.a, key.a, everywhere)
    assert moment is not None
    gain, shift = form.gain * scales.weight_lr, form.shift * scales.bias_lr
    own = plan.add(key, [moment], partial(tensors.affine, factor=gain, constant=shift))
    return plan.sum(key, [own] if out is None else [out, own])


def check_alone(plan: Listing, later: int, other: int) -> None:
    """Refuse a gain or shift that learns and is another's too, where one weight reads both."""
    facts, node = plan.structure, plan.structure.net.nodes[later]
    scales = plan.scales.get(later)
    if scales is None or parameters_of(node) not in facts[other].sources:
        return
    form = facts[later].form
    assert isinstance(form, Normal)
    if form.gain * scales.weight_lr + form.shift * scales.bias_lr > 0:
        reason = f"its NTK beside {facts.net.nodes[other]}, whose gain or shift are the same parameters"
        facts.refuse(later, reason, "give it parameters of its own, or rates of 0")


def flat(plan: Listing, key: Key) -> Rule:
    """The mean over positions p = p', which a weight with entries for each of them reads."""
    a, b = (plan.structure[i].inputs[0] for i in (key.a, key.b))
    part = yield Key(key.kind, a, b)
    if part is None:
        return None
    n = len(plan.structure.positions(a))
    return plan.add(key, [part], partial(tensors.mean_of_last, axes=n))
