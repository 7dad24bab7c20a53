"""Moments and tangents of weights, of functions of Gaussians, and of products."""

from functools import partial
from math import prod

from mupi.architecture.kernel import tensors
from mupi.architecture.kernel.forms import Function, Weight
from mupi.architecture.kernel.listing import Listing, Rule
from mupi.architecture.kernel.steps import Key
from mupi.architecture.kernel.structure import Fact
from mupi.architecture.weights import Conv


def weight(plan: Listing, key: Key) -> Rule:
    """Of a weight with itself, or with another use of it: K = σ_w² A + σ_b², Θ = ω σ_w² A + β + σ_w² (Θ before)."""
    a, form, scales = key.a, plan.structure[key.a].form, plan.scales[key.a]
    assert isinstance(form, Weight)
    bias = form.bias
    read = yield Key("average", a, key.b, key.everywhere)
    square = scales.sigma_w**2
    moment = key.kind == "moment"
    factor = square if moment else square * scales.weight_lr
    constant = bias * (scales.sigma_b**2 if moment else scales.bias_lr)
    if read is None:  # two uses of one weight, of independent values with mean 0
        positions = [plan.structure.positions(i) for i in (key.a, key.b)]
        axes = (*positions[0], *(positions[1] if key.everywhere else ()))
        return plan.add(key, [], partial(tensors.constant, axes=axes, value=constant)) if constant else None
    if not moment and form.reads == "layer" and scales.learns_alike(bias):
        own = yield Key("moment", a, key.b, key.everywhere)
    else:
        own = plan.add(key, [read], partial(tensors.affine, factor=factor, constant=constant))
    assert own is not None
    if moment:
        if form.reads != "data" or plan.own or not plan.structure.sees_scale:
            return own
        sides = [(yield Key("variance:left", a)), (yield Key("variance:right", key.b))]
        reads = [own, *(i for i in sides if i is not None)]
        others = plan.counts(key)
        return plan.add(key, reads, partial(tensors.moved_apart, others=others, constant=constant))
    if form.reads != "layer":
        return own
    before = yield from average(plan, Key("average", a, key.b, key.everywhere), "tangent")
    if before is None:
        return own
    return plan.add(key, [own, before], partial(tensors.plus, factor=square))


def average(plan: Listing, key: Key, kind: str) -> Rule:
    """What two uses of a weight average."""
    first, second = plan.structure[key.a], plan.structure[key.b]
    form = first.form
    assert isinstance(form, Weight)
    if form.reads == "nothing":
        positions = plan.structure.positions(key.a)
        return plan.add(key, [], partial(tensors.positions, axes=positions, everywhere=key.everywhere))
    a, b = first.inputs[0], second.inputs[0]
    if form.reads == "data" and form.conv is not None and key.everywhere and form.conv == _conv(second):
        # Where places are few, products of what the kernel reads there cost less than those of all positions.
        places = plan.size(key.a) * plan.size(key.b) * prod(form.conv.size)
        if places < plan.size(a) * plan.size(b):
            return plan.add(key, [], partial(tensors.gram_of_patches, a=a, b=b, conv=form.conv))
    part = yield Key("gram" if form.reads != "layer" else kind, a, b, key.everywhere)
    if form.conv is None or part is None:
        return part
    return plan.add(key, [part], partial(tensors.over_offsets, conv=form.conv, everywhere=key.everywhere))


def _conv(fact: Fact) -> Conv | None:
    return fact.form.conv if isinstance(fact.form, Weight) else None


def functions(plan: Listing, key: Key) -> Rule:
    """Of φ(h) and φ(g)."""
    duals = yield Key("duals", key.a, key.b, key.everywhere)
    assert duals is not None
    if key.kind == "moment":
        return plan.add(key, [duals], partial(tensors.item, which=0)) if plan.both else duals
    h, g = (plan.structure[i].inputs[0] for i in (key.a, key.b))
    before = yield Key("tangent", h, g, key.everywhere)
    if before is None:
        return None
    out = plan.add(key, [before, duals], tensors.times_slope)
    rate = rate_of_gains(plan, key.a, h, g)
    if rate == 0:
        return out
    moment, products = (
        (yield Key("moment", h, g, key.everywhere)),
        (yield Key("duals of ψ", key.a, key.b, key.everywhere)),
    )
    assert moment is not None and products is not None
    return plan.add(key, [out, moment, duals, products], partial(tensors.with_gains, rate=rate))


def rate_of_gains(plan: Listing, place: int, h: int, g: int) -> float:
    """Σ ω over the gains that two Gaussian values share, one of which φ at ``place`` is of; their tangents are h g."""
    first, second = plan.structure[h].gains, plan.structure[g].gains
    rates = {plan.structure.owner(i): scales.weight_lr for i, scales in plan.scales.items()}
    shared = {owner: rates[owner] for owner in first.owners & second.owners if rates[owner]}
    if shared and not (first.whole and second.whole):
        names = ", ".join(sorted(shared))
        plan.structure.refuse(
            place,
            f"its NTK, to which the gain of {names} adds a random tangent of a part of what it reads",
            f"put a weight between them, or hold the gain, weight_lr={dict.fromkeys(sorted(shared), 0.0)}",
        )
    return sum(map(float, shared.values()), 0.0)


def duals(plan: Listing, key: Key) -> Rule:
    """E φ(h)φ(g), and E φ'(h)φ'(g) with it if there are tangents; or E ψ(h)ψ(g), ψ(x) = xφ'(x)."""
    (h, φ), (g, ψ) = ((plan.structure[i].inputs[0], plan.structure[i].form) for i in (key.a, key.b))
    assert isinstance(φ, Function) and isinstance(ψ, Function)
    if φ != ψ:
        other = plan.structure.net.nodes[key.b]
        plan.structure.refuse(key.a, f"its covariance with {other}, another function of what it reads")
    of_gains = key.kind == "duals of ψ"
    activation = plan.times_slope(key.a) if of_gains else φ.activation
    compute = partial(tensors.duals, φ=activation, both=plan.both and not of_gains)
    if plan.own and h == g and not key.everywhere:
        variance = yield Key("variance", h)
        assert variance is not None
        return plan.add(key, [variance], partial(tensors.dual_of_one, φ=φ.activation))
    reads = [
        (yield Key("variance:left", h)),
        (yield Key("moment", h, g, key.everywhere)),
        (yield Key("variance:right", g)),
    ]
    compute = partial(compute, keys=(Key("variance", h), Key("variance", g)), others=plan.counts(key))
    assert None not in reads
    return plan.add(key, [i for i in reads if i is not None], compute)


def beside_gaussian(plan: Listing, key: Key, on_left: bool) -> Rule:
    """E φ(h) g = E φ'(h)·E h g for Gaussian h and g (Stein's lemma); the tangent likewise, but for gains."""
    place, other = (key.a, key.b) if on_left else (key.b, key.a)
    (h,) = plan.structure[place].inputs
    first, second = (h, other) if on_left else (other, h)
    part = yield Key(key.kind, first, second, key.everywhere)
    slope = yield Key("slope:left" if on_left else "slope:right", place)
    if part is None or slope is None:
        return None
    times = partial(tensors.times_side, on_the_left=on_left, others=plan.count(other, key.everywhere))
    out = plan.add(key, [part, slope], times)
    rate = rate_of_gains(plan, place, first, second) if key.kind == "tangent" else 0.0
    if rate == 0:
        return out
    # Where ∂h/∂γ = h and ∂g/∂γ = g, E φ'(h) h g is not E φ'(h)·E h g but E ψ'(h)·E h g.
    moment = yield Key("moment", first, second, key.everywhere)
    own = yield Key("slope of ψ:left" if on_left else "slope of ψ:right", place)
    assert moment is not None and own is not None
    right, wrong = plan.add(key, [moment, own], times), plan.add(key, [moment, slope], times)
    more, less = (plan.add(key, [i], partial(tensors.scaled, factor=f)) for i, f in ((right, rate), (wrong, -rate)))
    return plan.sum(key, [out, more, less])


def product(plan: Listing, key: Key) -> Rule:
    """Of a product of independent values with itself."""
    u, v = plan.structure[key.a].inputs
    moments = [(yield Key("moment", u, u, key.everywhere)), (yield Key("moment", v, v, key.everywhere))]
    assert None not in moments
    if key.kind == "moment":
        return plan.add(key, [m for m in moments if m is not None], tensors.times)
    parts = []
    for i, beside in ((u, moments[1]), (v, moments[0])):
        tangent = yield Key("tangent", i, i, key.everywhere)
        if tangent is not None and beside is not None:
            parts.append(plan.add(key, [tangent, beside], tensors.times))
    return plan.sum(key, parts)
