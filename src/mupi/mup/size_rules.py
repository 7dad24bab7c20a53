"""Sizes of what each operation makes, and of the gradients of what it reads: one rule an operation.

What is initial acts on what is independent of it: a weight adds ½ to what it reads. What training has changed has been
moved along what it acts on: an update Σ g xᵀ meets x, and adds 1. An initial n × n matrix has operator norm n^½ times
its entries, whatever it acts on; an initial readout meets features that have been moved along it.
"""

from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Operation,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
)
from mupi.mup.function_growth import growth
from mupi.mup.sizes import HALF, NONE, NOTHING, ONE, ZERO, Entry, Exponent, Size, Step, Surroundings, inner, register
from mupi.parametrization.exponents import rational


@register(Dense)
@register(Conv)
def _linear(operation: Dense | Conv, around: Surroundings, x: Size) -> Step:
    weight, bias = around.parameters["weight"], around.parameters.get("bias")
    many_in, many_out = around.reads[0].is_layer, around.out.is_layer
    if many_in and many_out:
        fan = carried = HALF
    elif many_in:
        fan, carried = ONE if weight.source in x.sources else HALF, ONE
    else:
        fan = carried = NONE
    own = weight.change + x.now + (ONE if many_in else NONE)
    passed = weight.start + x.change + carried
    value = Size(weight.start + x.start + fan, max(own, passed), _row(weight, many_out))
    if bias is not None:
        value = value.plus(Size(bias.start, bias.change, _row(bias, many_out)))

    def back(gradient: Size) -> tuple[Size, ...]:
        if many_in and many_out:
            change = max(gradient.change + weight.start + HALF, gradient.now + weight.change + ONE)
            return (Size(gradient.start + weight.start + HALF, change, frozenset({weight.source})),)
        if many_in:
            return (Size(gradient.now + weight.start, gradient.now + weight.change, frozenset({weight.source})),)
        if many_out:
            product = inner(gradient, Size(weight.start, weight.change, frozenset({weight.source})))
            return (Size(product.now),)
        return (Size(gradient.now + weight.now),)

    def gradients(gradient: Size) -> dict[str, Exponent]:
        return {"weight": gradient.now + x.now, "bias": gradient.now}

    return Step(value, back, gradients, own, passed)


def _row(parameter: Entry, many: bool) -> frozenset[str]:
    return frozenset({parameter.source} if many else ())


@register(Embed)
def _embed(operation: Embed, around: Surroundings, x: Size) -> Step:
    return _table(operation, around, (NOTHING,))


@register(Table)
def _fixed(operation: Table, around: Surroundings) -> Step:
    return _table(operation, around, ())


def _table(operation: Embed | Table, around: Surroundings, reads: tuple[Size, ...]) -> Step:
    weight = around.parameters["weight"]
    value = Size(weight.start, weight.change, _row(weight, around.out.is_layer))
    return Step(value, lambda gradient: reads, lambda gradient: {"weight": gradient.now}, own=weight.change)


@register(Activate)
def _activate(operation: Activate, around: Surroundings, x: Size) -> Step:
    φ = growth(operation.activation)
    value = Size(φ.value(x.start), φ.change(x.start, x.change), x.sources)
    slope = φ.slope(x.now)
    moved = _relative(x)

    def back(gradient: Size) -> tuple[Size, ...]:
        change = max(gradient.change, gradient.start + moved) + slope
        return (Size(gradient.start + slope, change, gradient.sources),)

    return Step(value, back)


def _relative(x: Size) -> Exponent:
    """How much of a value training has changed, at most all of it."""
    return ZERO if x.change == ZERO else min(NONE, x.change - x.start) if x.start != ZERO else NONE


@register(Add)
def _add(operation: Add, around: Surroundings, x: Size, y: Size) -> Step:
    return Step(x.plus(y), lambda gradient: (gradient, gradient))


@register(Join)
def _join(operation: Join, around: Surroundings, x: Size, y: Size) -> Step:
    return Step(x.plus(y), lambda gradient: (gradient, gradient))


@register(Multiply)
def _multiply(operation: Multiply, around: Surroundings, x: Size, y: Size) -> Step:
    change = max(x.change + y.now, x.now + y.change)
    value = Size(x.start + y.start, change, x.sources | y.sources)

    def back(gradient: Size) -> tuple[Size, ...]:
        return tuple(
            Size(
                gradient.start + other.start,
                max(gradient.change + other.now, gradient.start + other.change),
                gradient.sources,
            )
            for other in (y, x)
        )

    return Step(value, back)


@register(Scale)
def _scale(operation: Scale, around: Surroundings, x: Size) -> Step:
    e = rational("Scale(exponent=...)", operation.exponent)
    return Step(x.times(e), lambda gradient: (gradient.times(e),))


@register(Normalize)
def _normalize(operation: Normalize, around: Surroundings, x: Size) -> Step:
    gain = around.parameters.get("gain", Entry("", NONE))
    shift = around.parameters.get("shift", Entry("", ZERO))
    moved = _relative(x)
    size = x.now if x.now != ZERO else NONE  # of what is zero, eps is the size
    shape = Size(NONE if x.start != ZERO else ZERO, moved, x.sources)
    change = max(shape.change + gain.now, shape.now + gain.change, shift.change)
    names = frozenset(entry.source for entry in (gain, shift) if entry.source)
    value = Size(max(shape.start + gain.start, shift.start), change, x.sources | names)

    def back(gradient: Size) -> tuple[Size, ...]:
        start = gradient.start + gain.start - size
        change = max(gradient.change + gain.now, gradient.start + gain.change, gradient.start + gain.now + moved) - size
        return (Size(start, change, gradient.sources),)

    def gradients(gradient: Size) -> dict[str, Exponent]:
        return {"gain": gradient.now + shape.now, "shift": gradient.now}

    return Step(value, back, gradients, own=max(shape.now + gain.change, shift.change))


@register(Attention)
def _attention(operation: Attention, around: Surroundings, query: Size, key: Size, value: Size) -> Step:
    e = rational("Attention(exponent=...)", operation.exponent)
    logits = inner(query, key).times(e)
    weights = min(NONE, logits.change)  # a softmax changes by no more than 1
    out = Size(value.start, max(value.change, weights + value.now), value.sources)

    def back(gradient: Size) -> tuple[Size, ...]:
        products = inner(gradient, value).now + e
        of_query = Size(products + key.start, products + key.change, key.sources)
        of_key = Size(products + query.start, products + query.change, query.sources)
        return of_query, of_key, gradient

    return Step(out, back, logits=logits)


@register(AveragePool)
@register(Center)
@register(Dropout)
@register(Flatten)
@register(Permute)
@register(Reshape)
@register(Select)
def _moved(operation: Operation, around: Surroundings, x: Size) -> Step:
    return Step(x, lambda gradient: (gradient,))
