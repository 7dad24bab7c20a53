"""Sizes of what each operation makes, and of the gradients of what it reads: one rule an operation.

What is initial acts on what is independent of it: a weight adds ½ to what it reads. What training has changed has been
moved along what it acts on: an update Σ g xᵀ meets x, and adds 1. An initial n × n matrix has operator norm n^½ times
its entries, whatever it acts on; an initial readout meets features that have been moved along it.
"""

from dataclasses import replace

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
from mupi.mup.sizes import (
    HALF,
    NONE,
    NOTHING,
    ONE,
    ZERO,
    Entry,
    Exponent,
    Parts,
    Size,
    Step,
    Surroundings,
    by,
    inner,
    larger,
    register,
)
from mupi.parametrization.exponents import rational


@register(Dense)
@register(Conv)
def _linear(operation: Dense | Conv, around: Surroundings, x: Size) -> Step:
    weight = around.parameters["weight"]
    if around.out.is_layer:
        step = _hidden(weight, around, x) if around.reads[0].is_layer else _input(weight, around, x)
    else:
        step = _readout(weight, x) if around.reads[0].is_layer else _finite(weight, x)
    bias = around.parameters.get("bias")
    if bias is None:
        return step
    is_layer = around.out.is_layer
    moved = by(around.towards, bias.change) if is_layer else {}
    value = step.value.plus(Size(bias.start, bias.change, {bias.source: bias.start} if is_layer else {}, moved))
    return replace(step, value=value, gradients=lambda g: {"weight": g.now + x.now, "bias": g.now})


def _hidden(weight: Entry, around: Surroundings, x: Size) -> Step:
    rows, columns = weight.source, f"{weight.source}ᵀ"
    own = weight.change + x.now + ONE
    passed = weight.start + x.change + HALF
    # W Wᵀg has a part along g, as large as the rest.
    returned = weight.start + x.moved.get(columns, ZERO) + HALF
    start = weight.start + x.start + HALF
    moved = larger({rows: passed}, by(around.towards, max(own, returned)))

    def back(g: Size) -> tuple[Size, ...]:
        start, passed = g.start + weight.start + HALF, g.change + weight.start + HALF
        own, returned = g.now + weight.change + ONE, g.parts.get(rows, ZERO) + weight.start + HALF
        moved = larger({columns: passed}, by(_relative_parts(x), max(own, returned)))
        return (Size(start, max(passed, own), {columns: start}, moved),)

    value = Size(start, max(own, passed), {rows: start}, moved)
    return Step(value, back, lambda g: {"weight": g.now + x.now}, own, passed)


def _input(weight: Entry, around: Surroundings, x: Size) -> Step:
    own, passed = weight.change + x.now, weight.start + x.change
    start = weight.start + x.start
    moved = larger({weight.source: passed}, by(around.towards, own))

    def back(g: Size) -> tuple[Size, ...]:
        through = inner(g, Size(weight.start, ZERO, {weight.source: weight.start})).now
        return (Size(max(through, g.now + weight.change + ONE)),)

    value = Size(start, max(own, passed), {weight.source: start}, moved)
    return Step(value, back, lambda g: {"weight": g.now + x.now}, own, passed)


def _readout(weight: Entry, x: Size) -> Step:
    through = inner(x, Size(weight.start, ZERO, {weight.source: weight.start}))
    own = weight.change + x.now + ONE

    def back(g: Size) -> tuple[Size, ...]:
        start, change = g.now + weight.start, g.now + weight.change
        return (Size(start, change, {weight.source: start}, by(_relative_parts(x), change)),)

    value = Size(through.start, max(own, through.change))
    return Step(value, back, lambda g: {"weight": g.now + x.now}, own, through.change)


def _finite(weight: Entry, x: Size) -> Step:
    own, passed = weight.change + x.now, weight.start + x.change
    value = Size(weight.start + x.start, max(own, passed))
    return Step(value, lambda g: (Size(g.now + weight.now),), lambda g: {"weight": g.now + x.now}, own, passed)


def _relative_parts(x: Size) -> Parts:
    """Parts of a value relative to it."""
    return {} if x.now == ZERO else by(x.parts, -x.now)


@register(Embed)
def _embed(operation: Embed, around: Surroundings, x: Size) -> Step:
    return _table(around, (NOTHING,))


@register(Table)
def _fixed(operation: Table, around: Surroundings) -> Step:
    return _table(around, ())


def _table(around: Surroundings, reads: tuple[Size, ...]) -> Step:
    weight = around.parameters["weight"]
    along, moved = (
        ({weight.source: weight.start}, by(around.towards, weight.change)) if around.out.is_layer else ({}, {})
    )
    value = Size(weight.start, weight.change, along, moved)
    return Step(value, lambda g: reads, lambda g: {"weight": g.now}, own=weight.change)


@register(Activate)
def _activate(operation: Activate, around: Surroundings, x: Size) -> Step:
    φ = growth(operation.activation)
    change = φ.change(x.start, x.change)
    along = {} if x.start == ZERO else by(x.along, φ.varying(x.start) - x.start)
    moved = {} if x.change == ZERO else by(x.moved, change - x.change)
    slope, part = φ.slope(x.now), _changed(x)

    def back(g: Size) -> tuple[Size, ...]:
        through = g.times(slope)
        return (replace(through, change=max(through.change, through.start + part)),)

    return Step(Size(φ.value(x.start), change, along, moved), back)


def _changed(x: Size) -> Exponent:
    """How much of a value training has changed, at most all of it."""
    return ZERO if x.change == ZERO else min(NONE, x.change - x.start) if x.start != ZERO else NONE


@register(Add)
def _add(operation: Add, around: Surroundings, x: Size, y: Size) -> Step:
    return Step(x.plus(y), lambda g: (g, g))


@register(Join)
def _join(operation: Join, around: Surroundings, x: Size, y: Size) -> Step:
    return Step(x.plus(y), lambda g: (g, g))


@register(Multiply)
def _multiply(operation: Multiply, around: Surroundings, x: Size, y: Size) -> Step:
    value = Size(
        x.start + y.start,
        max(x.change + y.now, x.now + y.change),
        larger(by(x.along, y.start), by(y.along, x.start)),
        larger(by(x.moved, y.now), by(y.moved, x.now)),
    )

    def back(g: Size) -> tuple[Size, ...]:
        return tuple(
            Size(
                g.start + other.start,
                max(g.change + other.now, g.start + other.change),
                by(g.along, other.start),
                larger(by(g.moved, other.now), by(g.along, other.change)),
            )
            for other in (y, x)
        )

    return Step(value, back)


@register(Scale)
def _scale(operation: Scale, around: Surroundings, x: Size) -> Step:
    e = rational("Scale(exponent=...)", operation.exponent)
    return Step(x.times(e), lambda g: (g.times(e),))


@register(Normalize)
def _normalize(operation: Normalize, around: Surroundings, x: Size) -> Step:
    gain = around.parameters.get("gain", Entry("", NONE))
    shift = around.parameters.get("shift", Entry("", ZERO))
    part = _changed(x)
    size = x.now if x.now != ZERO else NONE  # of what is zero, eps is the size
    unit = NONE if x.start != ZERO else ZERO
    start = max(unit + gain.start, shift.start)
    own = max(max(unit, part) + gain.change, shift.change)
    along = {} if x.start == ZERO else by(x.along, gain.start - x.start)
    moved = {} if x.change == ZERO else by(x.moved, part + gain.now - x.change)
    value = Size(start, max(part + gain.now, own), along, larger(moved, by(around.towards, own)))

    def back(g: Size) -> tuple[Size, ...]:
        through = g.times(gain.now - size)
        first = g.start + gain.start - size
        change = max(through.change, first + part, g.start + gain.change - size)
        return (Size(first, change, by(g.along, gain.start - size), through.moved),)

    return Step(value, back, lambda g: {"gain": g.now + max(unit, part), "shift": g.now}, own)


@register(Attention)
def _attention(operation: Attention, around: Surroundings, query: Size, key: Size, value: Size) -> Step:
    e = rational("Attention(exponent=...)", operation.exponent)
    logits = inner(query, key).times(e)
    weights = min(NONE, logits.change)  # a softmax changes by no more than 1
    change = max(value.change, weights + value.now)
    out = Size(value.start, change, value.along, larger(value.moved, by(value.parts, weights)))

    def back(g: Size) -> tuple[Size, ...]:
        products = inner(g, value).now + e
        return key.times(products), query.times(products), g

    return Step(out, back, logits=logits)


@register(AveragePool)
@register(Center)
@register(Dropout)
@register(Flatten)
@register(Permute)
@register(Reshape)
@register(Select)
def _moved(operation: Operation, around: Surroundings, x: Size) -> Step:
    return Step(x, lambda g: (g,))
