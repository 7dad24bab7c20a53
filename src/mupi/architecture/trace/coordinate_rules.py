"""Sums, products and functions, coordinate by coordinate."""

from dataclasses import replace
from typing import Any

import torch

from mupi.architecture.coordinates import Add, Dropout, Multiply, Normalize
from mupi.architecture.draft import Value
from mupi.architecture.trace.alignment import together
from mupi.architecture.trace.attention_rules import masked, where_kept
from mupi.architecture.trace.extents import Scaling
from mupi.architecture.trace.formula import Formula, X, closed
from mupi.architecture.trace.layout import Unreadable, size_of
from mupi.architecture.trace.moments import added_to_moment, centered, normalized, powered
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.shape_rules import parts
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.tables import described, table
from mupi.architecture.trace.values import Anything, Centered, Constant, Moment, Parameter, Scores, Traced, Varying
from mupi.architecture.weights import Conv, Dense
from mupi.torch_internals import operator_name

aten = torch.ops.aten


def number_of(step: Step, x: Any) -> Scaling | None:
    """A number of the code, or a tensor that is full of one; None for anything else."""
    if isinstance(x, Constant):
        return None if x.number is None else step.number(*x.number, x.precision)
    if isinstance(x, int | float | Varying) and not isinstance(x, bool):
        return step.number(*map(float, step.both(x)))
    return None


def grows(step: Step, x: Any) -> bool:
    """Whether a result has more axes or larger ones than a value."""
    sizes, own = step.sizes(), [size_of(axis) for axis in getattr(x, "axes", ())]
    return tuple(own) != sizes


def scaled(step: Step, x: Anything, by: Scaling) -> Any:
    """A value times a number."""
    if isinstance(x, Traced) and step.shape(x).channels is None:
        raise Unreadable("a product with integers", "embed them first (nn.Embedding)")
    if not isinstance(x, Traced | Parameter | Scores):
        raise Unreadable(f"a product of {described(x)} with a number")
    if isinstance(x, Scores) and (x.softmaxed or (x.causal and by.factor < 0)):
        raise Unreadable("a product of probabilities, or of masked products, with a number")
    if by.factor == 0 or grows(step, x):
        raise Unreadable("a product with 0" if by.factor == 0 else "a product that copies a value along an axis")
    waits = isinstance(x, Traced) and x.formula != X and x.scaling == Scaling() and by.exponent == 0
    if waits and isinstance(x, Traced) and closed(x.formula) is None:
        return replace(x, formula=Formula("mul.Tensor", (x.formula, by.factor)))
    return replace(x, scaling=x.scaling * by)


@translates(aten.mul)
def multiply(step: Step, x: Any, y: Any) -> Any:
    """x·y."""
    for one, other in ((x, y), (y, x)):
        number = number_of(step, other)
        if number is not None and not isinstance(one, Moment):
            return scaled(step, one, number)
    for one, other in ((x, y), (y, x)):
        if isinstance(other, Moment) and isinstance(one, Traced | Centered):
            return normalized(step, one, other)
        if isinstance(one, Traced) and isinstance(other, Parameter):
            fused = trained(step, one, other, "gain")
            if fused is not None:
                return fused
            return multiply(step, one, table(step, other))
    if isinstance(x, Centered) and x == y and not x.squared:
        return replace(x, squared=True)
    if isinstance(x, Traced) and isinstance(y, Traced):
        if x.place == y.place and x.axes == y.axes:
            product = Formula("mul.Tensor", (x.formula, y.formula))
            if x.formula == y.formula:
                product = Formula("pow.Tensor_Scalar", (x.formula, 2))
            return replace(x, formula=product, scaling=x.scaling * y.scaling)
        return together(step, Multiply(), step.plain(x), step.plain(y))
    raise Unreadable(f"a product of {described(x)} and {described(y)}", "make what is fixed a parameter or a number")


@translates(aten.div, aten.true_divide)
def divide(step: Step, x: Any, y: Any) -> Any:
    """x/y."""
    if step.options.get("rounding_mode"):
        raise Unreadable("a rounded quotient")
    number = number_of(step, y)
    if number is not None and number.factor:
        return scaled(step, x, number**-1)
    if isinstance(y, Moment) and isinstance(x, Traced | Centered):
        return normalized(step, x, replace(y, power=-y.power))
    return pointwise(step, x, y)


@translates(aten.reciprocal)
def reciprocal(step: Step, x: Any) -> Any:
    """1/x."""
    return replace(x, power=-x.power) if isinstance(x, Moment) else pointwise(step, x)


@translates(aten.pow, aten.square, aten.sqrt, aten.rsqrt)
def power(step: Step, x: Any, exponent: Any = None) -> Any:
    """A power of each coordinate."""
    exponent = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5}.get(step.called, exponent)
    if isinstance(x, Moment) and isinstance(exponent, int | float):
        return powered(x, float(exponent))
    if isinstance(x, Centered) and exponent == 2 and not x.squared:
        return replace(x, squared=True)
    if isinstance(x, Traced) and exponent == 2:
        return multiply(step, x, x)
    return pointwise(step, x, *(() if step.called in ("sqrt", "rsqrt") else (exponent,)))


@translates(aten.add)
def add(step: Step, x: Any, y: Any, *_: Any) -> Any:
    """x + alpha·y."""
    alpha = step.options.get("alpha", 1)
    if step.called == "add" and alpha != 1:
        y = multiply(step, y, alpha)
    for one, other in ((x, y), (y, x)):
        number = number_of(step, other)
        if number is not None and isinstance(one, Moment) and number.exponent == 0:
            return added_to_moment(one, number.factor)
        if number is not None and isinstance(one, Traced):
            if number.factor == 0 and not grows(step, one):
                return one
            return pointwise(step, x if one is x else other, y if one is x else one)
        if isinstance(one, Scores) and isinstance(other, Constant):
            return masked(step, one, other)
        if isinstance(one, Traced) and isinstance(other, Parameter):
            fused = trained(step, one, other, "shift")
            return fused if fused is not None else add(step, one, table(step, other))
    if isinstance(x, Parameter) and isinstance(y, Parameter):
        return add(step, table(step, x), table(step, y))
    if isinstance(x, Traced) and isinstance(y, Traced):
        if x.place == y.place and x.axes == y.axes and x.scaling.exponent == y.scaling.exponent == 0:
            return sum_of_functions(x, y)
        return together(step, Add(), step.plain(x), step.plain(y))
    raise Unreadable(f"a sum of {described(x)} and {described(y)}", "make what is fixed a parameter or a number")


def sum_of_functions(x: Traced, y: Traced) -> Traced:
    """Functions of one value, added."""
    if x.formula == y.formula:
        return replace(x, scaling=Scaling(x.scaling.factor + y.scaling.factor))
    return replace(x, formula=Formula("add.Tensor", (folded(x), folded(y))), scaling=Scaling())


def folded(x: Traced) -> Formula:
    """The function of the node's value, with its multiplier."""
    return x.formula if x.scaling == Scaling() else Formula("mul.Tensor", (x.formula, x.scaling.factor))


@translates(aten.sub)
def subtract(step: Step, x: Any, y: Any, *_: Any) -> Any:
    """x − alpha·y."""
    if isinstance(y, Moment) and y.kind == "mean" and isinstance(x, Traced):
        return centered(step, x, y)
    alpha = step.options.get("alpha", 1)
    number = number_of(step, y)
    if isinstance(x, Traced) and number is not None:
        return pointwise(step, x, y)
    if isinstance(y, Traced) and number_of(step, x) is not None:
        return pointwise(step, x, y)
    if not isinstance(y, Traced | Parameter):
        raise Unreadable(f"a difference of {described(x)} and {described(y)}")
    return add(step, x, replace(y, scaling=y.scaling * Scaling(-float(alpha))))


@translates(aten.rsub)
def subtract_from(step: Step, x: Any, y: Any, *_: Any) -> Any:
    """y − x."""
    return subtract(step, y, x) if not number_of(step, y) else pointwise(step, x, y)


@translates(aten.neg)
def negative(step: Step, x: Any) -> Any:
    """−x."""
    if isinstance(x, Traced) and x.formula == X:
        return replace(x, scaling=x.scaling * Scaling(-1.0))
    return pointwise(step, x)


@translates(aten.where)
def where(step: Step, condition: Any, x: Any, y: Any) -> Any:
    """x where a condition holds, else y."""
    if isinstance(condition, Constant) and isinstance(x, Scores):
        return where_kept(step, condition, x, y)
    return pointwise(step, condition, x, y)


@translates(aten.dropout, aten.feature_dropout, aten.alpha_dropout)
def dropout(step: Step, x: Any, p: float, train: bool) -> Any:
    """Nothing in evaluation; the description says what it is in training."""
    if train:
        raise Unreadable("dropout that does not end in evaluation", "pass training=self.training")
    if not isinstance(x, Traced) or p == 0:
        return x
    if step.called != "dropout":
        raise Unreadable(f"{step.called}, which is not of single coordinates", "use nn.Dropout")
    x = step.plain(x)
    return replace(x, place=step.write(Dropout(float(p)), x.place))


@translates(aten.glu)
def glu(step: Step, x: Any, dim: int = -1) -> Any:
    """The first half times the sigmoid of the second."""
    if not isinstance(x, Traced):
        raise Unreadable(f"a gate of {described(x)}")
    size = size_of(x.axes[dim])
    half = (size[0] // 2, size[1] // 2)
    gate = parts(step, x, dim, half, size)
    return multiply(step, parts(step, x, dim, (0, 0), half), replace(gate, formula=Formula("sigmoid.default", (X,))))


@translates(aten.prelu, aten.rrelu)
def trainable_activation(step: Step, *_: Any) -> Any:
    """Not a fixed function."""
    raise Unreadable("an activation that is trained or random", "use nn.LeakyReLU(slope)")


def pointwise(step: Step, *arguments: Any) -> Any:
    """A function of one value's coordinates, which waits for what else is done to them."""
    traced = [x for x in arguments if isinstance(x, Traced)]
    if not traced:
        raise Unreadable(f"{step.called} of {', '.join(map(described, arguments))}")
    if any(x.scaling.exponent for x in traced):
        plain = {i: step.plain(x) for i, x in enumerate(arguments) if isinstance(x, Traced)}
        arguments = tuple(plain.get(i, x) for i, x in enumerate(arguments))
        traced = list(plain.values())
    first = traced[0]
    if any(x.place != first.place or x.axes != first.axes for x in traced) or grows(step, first):
        raise Unreadable("a function of several values", "only sums and products of two values are read")
    if step.shape(first).channels is None:
        raise Unreadable("a function of integers", "embed them first (nn.Embedding)")
    given: list[Any] = []
    for x in arguments:
        number = None if isinstance(x, Traced) else number_of(step, x)
        if number is not None and number.exponent:
            raise Unreadable(f"{step.called} of a number that depends on the width")
        fixed = x if number is None or isinstance(x, int | float) else number.factor
        if isinstance(fixed, Constant | Parameter | Moment | Scores | Centered):
            raise Unreadable(f"{step.called} of a value and {described(fixed)}")
        given.append(folded(x) if isinstance(x, Traced) else fixed)
    overload = f"{step.called}.{operator_name(step.first.target)[2]}"
    options = tuple(sorted((k, v) for k, v in step.options.items() if v is not None))
    if step.called in ("maximum", "minimum") and any(isinstance(a, float) for a in given):
        overload = "clamp_min.default" if step.called == "maximum" else "clamp_max.default"
        given.sort(key=lambda a: isinstance(a, float))
    made = Formula(overload, tuple(given), options)
    return Traced(first.place, first.axes, made)


def trained(step: Step, x: Traced, by: Parameter, kind: str) -> Traced | None:
    """A vector of the width on what was just normalized, or a bias on a weight's output: part of that operation."""
    wide = [d for d, axis in enumerate(by.axes) if axis]
    offset = len(x.axes) - len(by.axes)
    if not x.is_plain or len(wide) != 1 or offset < 0 or by.scaling != Scaling() or grows(step, x):
        return None
    channel = wide[0]
    if not step.is_whole(x.axes[channel + offset], x) or size_of(by.axes[channel]) != size_of(step.whole_channels(x)):
        return None
    state = step.translation
    operation, node = state.operation(x.place), state.draft.nodes[x.place.place]
    uses = dict(state.uses.get(x.place.place, {}))
    if kind == "gain" and isinstance(operation, Normalize) and not operation.gain and not operation.shift:
        made = replace(operation, gain=True)
    elif kind == "shift" and isinstance(operation, Normalize) and not operation.shift:
        made = replace(operation, shift=True)
    elif kind == "shift" and isinstance(operation, Dense | Conv) and not operation.bias:
        made, kind = replace(operation, bias=True), "bias"
    else:
        return None
    uses[kind] = (by, (by.axes[channel],))
    return replace(x, place=step.write(made, *(Value(state.draft, i) for i in node.inputs), uses=uses))
