"""Products of two tensors by Einstein's convention: weights, and attention's two products."""

import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mupi.architecture.positions import Attention
from mupi.architecture.shape import Width
from mupi.architecture.trace.extents import neat
from mupi.architecture.trace.layout import CHANNELS, KEYS, POSITION, Axis, Unreadable, joined, size_of, whole
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.tables import described
from mupi.architecture.trace.values import Anything, Constant, Parameter, Scores, Traced
from mupi.architecture.trace.weight_rules import dense

aten = torch.ops.aten

MASKED = -1e4
"""Logits to which this is added are masked: e^−10000 is no number in any dtype."""


@translates(aten.matmul, aten.bmm, aten.mm)
def matmul(step: Step, x: Anything, y: Anything) -> Any:
    """x @ y."""
    ranks = len(axes(x)), len(axes(y))
    if min(ranks) < 2:
        raise Unreadable("a product with a vector", "use nn.Linear")
    letters = string.ascii_lowercase[: max(ranks) - 2]
    first, second = letters[len(letters) - ranks[0] + 2 :] + "xy", letters[len(letters) - ranks[1] + 2 :] + "yz"
    return contracted(step, x, y, first, second, letters + "xz")


@translates(aten.einsum)
def einsum(step: Step, equation: str, operands: Sequence[Anything], *_: Any) -> Any:
    """A product of two tensors, by letters."""
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if len(letters) != 2 or not arrow or "." in equation:
        raise Unreadable(f"einsum('{equation}')", "write products of two tensors with all their axes")
    return contracted(step, operands[0], operands[1], letters[0], letters[1], out)


@translates(aten.addmm)
def addmm(step: Step, bias: Anything, x: Anything, y: Anything, *_: Any) -> Any:
    """bias + x @ y."""
    if any(step.options.get(name, 1) != 1 for name in ("alpha", "beta")):
        raise Unreadable("a product with factors", "multiply by them")
    return step.call(aten.add, matmul(step, x, y), bias)


@translates(aten.baddbmm)
def baddbmm(step: Step, mask: Anything, x: Anything, y: Anything, *_: Any) -> Any:
    """mask + x @ y."""
    return addmm(step, mask, x, y)


def axes(x: Anything) -> tuple[Axis, ...]:
    """Those of a factor."""
    if not isinstance(x, Traced | Parameter | Scores):
        raise Unreadable(f"a product with {described(x)}", "make it a parameter")
    return x.axes


def contracted(step: Step, x: Anything, y: Anything, of_x: str, of_y: str, out: str) -> Any:
    """Σ x·y over the letters that are not in the result."""
    if isinstance(x, Parameter) and isinstance(y, Traced):
        x, y, of_x, of_y = y, x, of_y, of_x
    summed = [letter for letter in of_x if letter not in out]
    if (
        len(summed) != 1
        or summed[0] not in of_y
        or set(of_y) - set(out) != set(summed)
        or not set(out) <= {*of_x, *of_y}
    ):
        raise Unreadable(f"the product {of_x},{of_y}->{out}", "sum over one axis that both have")
    s = summed[0]
    if isinstance(x, Traced) and isinstance(y, Parameter):
        rest = [letter for letter in of_y if letter != s and y.axes[of_y.index(letter)]]
        if len(rest) != 1 or rest[0] in of_x:
            raise Unreadable("a weight of its own for each sample, position or head", "use one weight for all")
        result = dense(step, x, of_x.index(s), y, y.axes[of_y.index(rest[0])], y.axes[of_y.index(s)])
        letters = of_x.replace(s, rest[0])
    elif isinstance(x, Traced) and isinstance(y, Traced):
        result, letters = scores(step, x, y, of_x, of_y, s)
    elif isinstance(x, Scores) and isinstance(y, Traced):
        result, letters = attended(step, x, y, of_x, of_y, s)
    elif isinstance(y, Scores) and isinstance(x, Traced):
        result, letters = attended(step, y, x, of_y, of_x, s)
    else:
        raise Unreadable(f"a product of {described(x)} and {described(y)}")
    missing = [letter for letter in out if letter not in letters]
    if len(set(out)) != len(out) or any(size_of(letter_axis(x, y, of_x, of_y, a)) != (1, 1) for a in missing):
        raise Unreadable(f"the product {of_x},{of_y}->{out}")
    new = [result.axes[letters.index(letter)] if letter in letters else () for letter in out]
    return replace(result, axes=tuple(new))


def letter_axis(x: Anything, y: Anything, of_x: str, of_y: str, letter: str) -> Axis:
    """The axis of a letter."""
    return axes(x)[of_x.index(letter)] if letter in of_x else axes(y)[of_y.index(letter)]


def aligned(x: Anything, y: Anything, of_x: str, of_y: str, s: str) -> tuple[str, str, str]:
    """The letters that both have beside the sum, those of x only, and those of y only."""
    both = "".join(letter for letter in of_x if letter in of_y and letter != s)
    for letter in both:
        if axes(x)[of_x.index(letter)] != axes(y)[of_y.index(letter)]:
            raise Unreadable(
                "a product of axes that do not have the same meaning", "give queries, keys and values as many heads"
            )
    return both, own_letter(x, of_x, of_y), own_letter(y, of_y, of_x)


def own_letter(x: Anything, of_x: str, of_y: str) -> str:
    """The letter of x only: positions, or what a head has."""
    own = [letter for letter in of_x if letter not in of_y]
    long = [letter for letter in own if axes(x)[of_x.index(letter)]]
    if len(long) > 1 or not own:
        raise Unreadable("a product of positions that is no matrix of queries and keys",
                         "attend over one axis of positions")  # fmt: skip
    return (long or own[-1:])[0]


def scores(step: Step, x: Traced, y: Traced, of_x: str, of_y: str, s: str) -> tuple[Scores, str]:
    """Queries times keys."""
    x, y = step.linear(x), step.linear(y)
    if not (step.shape(x).is_layer and step.shape(y).is_layer):
        raise Unreadable("a product of two values that are no layers")
    both, ours, theirs = aligned(x, y, of_x, of_y, s)
    one, other = x.axes[of_x.index(s)], y.axes[of_y.index(s)]
    heads = step.heads(x, one)
    if one != other or step.shape(x).channels != step.shape(y).channels:
        raise Unreadable("a product over axes that do not have the same meaning", "sum over one head's coordinates")
    shared = joined([a for letter in both for a in x.axes[of_x.index(letter)] if a.axis == CHANNELS])
    size = size_of(one)
    expected = whole(CHANNELS, (heads, heads))
    if tuple(replace(a, inner=(a.inner[0] // size[0], a.inner[1] // size[1])) for a in shared) != expected:
        raise Unreadable("a product in which heads meet each other")
    x, y = step.settled(x, [of_x.index(ours)]), step.settled(y, [of_y.index(theirs)])
    query, key = size_of(x.axes[of_x.index(ours)]), size_of(y.axes[of_y.index(theirs)])
    made = (*(x.axes[of_x.index(letter)] for letter in both), whole(POSITION, query), whole(KEYS, key))
    return Scores(x, y, made, heads, x.scaling * y.scaling), both + ours + theirs


def attended(step: Step, p: Scores, v: Traced, of_p: str, of_v: str, s: str) -> tuple[Traced, str]:
    """Probabilities times values."""
    if not p.softmaxed:
        raise Unreadable("attention without a softmax", "use softmax")
    v = step.linear(v)
    if not step.shape(v).is_layer:
        raise Unreadable("attention whose values are no layer")
    both, ours, theirs = aligned(p, v, of_p, of_v, s)
    if p.axes[of_p.index(s)] != keys_of(step, p):
        raise Unreadable("a sum over something else than the keys")
    if step.heads(v, v.axes[of_v.index(theirs)]) != p.heads:
        raise Unreadable("values of another number of heads")
    v = step.settled(v, [of_v.index(s)])
    operation = Attention(p.heads, p.causal, *logits(step, p))
    place = step.write(operation, p.query.place, p.key.place, v.place)
    made = (*(v.axes[of_v.index(letter)] for letter in both), p.axes[of_p.index(ours)], v.axes[of_v.index(theirs)])
    return Traced(place, made, scaling=v.scaling), both + ours + theirs


def logits(step: Step, p: Scores) -> tuple[float, float]:
    """c and e of the factor c·d^e of the products, d the size of a head."""
    channels = step.shape(p.query).channels
    assert isinstance(channels, Width)
    size = float(channels.times) / p.heads  # d = size·n, so that n^e = d^e size^−e
    return neat(p.scaling.factor * size**-p.scaling.exponent), p.scaling.exponent


@translates(aten.softmax, aten.special_softmax, aten.log_softmax)
def softmax(step: Step, x: Anything, dim: int, *_: Any) -> Any:
    """Over the keys."""
    if not isinstance(x, Scores) or step.called == "log_softmax":
        raise Unreadable(f"a softmax of {described(x)}", "return logits, and let the loss take the softmax")
    if x.axes[dim] != keys_of(step, x) and not x.causal:
        x = exchanged(x)
    if x.softmaxed or x.axes[dim] != keys_of(step, x):
        raise Unreadable("a softmax over something else than attention's keys")
    return replace(x, softmaxed=True)


def keys_of(step: Step, p: Scores) -> Axis:
    """The axis of the keys."""
    (count,) = step.shape(p.key).positions
    return whole(KEYS, (count, count))


def exchanged(p: Scores) -> Scores:
    """Queries as keys, and keys as queries, which a product does not tell apart."""
    names = {POSITION: KEYS, KEYS: POSITION}
    swapped = tuple(tuple(replace(a, axis=names.get(a.axis, a.axis)) for a in axis) for axis in p.axes)
    return replace(p, query=p.key, key=p.query, axes=swapped)


@translates(aten.scaled_dot_product_attention)
def attention(
    step: Step,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout: float = 0.0,
    causal: bool = False,
    **_: Any,
) -> Any:
    """Softmax attention; 1/√d by default."""
    if dropout:
        raise Unreadable("dropout of attention that does not end in evaluation", "pass 0 unless self.training")
    if not all(isinstance(x, Traced) for x in (query, key, value)):
        raise Unreadable("attention of what are no layers")
    letters = string.ascii_lowercase[: len(query.axes) - 2]
    p = contracted(step, query, key, letters + "xs", letters + "ys", letters + "xy")
    scale = step.options.get("scale")
    if scale is None:
        d = size_of(query.axes[-1])
        scale = step.number(d[0] ** -0.5, d[1] ** -0.5)
    else:
        scale = step.number(*step.both(scale))
    p = replace(p, scaling=p.scaling * scale)
    if mask is not None:
        p = masked(step, p, mask)
    if causal:
        if size_of(p.axes[-1]) != size_of(p.axes[-2]):
            raise Unreadable("causal attention of more keys than queries")
        p = replace(p, causal=True)
    return contracted(step, replace(p, softmaxed=True), value, letters + "xy", letters + "yz", letters + "xz")


def masked(step: Step, p: Scores, mask: Anything) -> Scores:
    """With a mask, of the pairs that are kept or of numbers that are added, which must be the causal one."""
    numbers = mask.same if isinstance(mask, Constant) else None
    if numbers is None:
        raise Unreadable("a mask that depends on the input, or whose numbers are not known", "use a fixed causal mask")
    if numbers.dtype == torch.bool:
        return kept(step, p, numbers)
    if not bool(((numbers == 0) | (numbers <= MASKED)).all()):
        raise Unreadable("numbers added to attention's products", "use no mask or a causal one")
    return kept(step, p, numbers == 0)


def kept(step: Step, p: Scores, pairs: Tensor) -> Scores:
    """With a mask of the pairs of query and key that are kept."""
    if p.softmaxed:
        raise Unreadable("a mask of probabilities", "mask before the softmax")
    sizes = [size_of(axis) for axis in p.axes]
    query = next((i for i, axis in enumerate(p.axes) if axis and axis[0].axis == POSITION), None)
    key = next((i for i, axis in enumerate(p.axes) if axis and axis[0].axis == KEYS), None)
    if query is None or key is None:
        if bool(pairs.all()):
            return p
        raise Unreadable("a mask of one query or one key", "leave it out")
    full = pairs.reshape((1,) * (len(sizes) - pairs.ndim) + tuple(pairs.shape))
    order = [query, key, *(i for i in range(len(sizes)) if i not in (query, key))]
    full = full.permute(order).reshape(full.shape[query], full.shape[key], -1)
    if not bool((full == full[..., :1]).all()):
        raise Unreadable("a mask that depends on the sample or the head", "use no mask or a causal one")
    matrix = full[..., 0].expand(sizes[query][0], sizes[key][0])
    if bool(matrix.all()):
        return p
    if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.ones_like(matrix).tril()):
        return replace(p, causal=True)
    raise Unreadable("a mask that is not causal", "use no mask or a causal one")


@translates(aten.masked_fill)
def masked_fill(step: Step, x: Anything, mask: Anything, value: Any) -> Any:
    """Masked where the mask says so."""
    number = value.number[0] if isinstance(value, Constant) and value.number else value
    numbers = mask.same if isinstance(mask, Constant) else None
    if not isinstance(x, Scores) or numbers is None or not isinstance(number, int | float) or number > MASKED:
        raise Unreadable("masked_fill of something else than attention's products", "use no mask or a causal one")
    return kept(step, x, ~numbers)


def where_kept(step: Step, condition: Constant, x: Scores, other: Any) -> Scores:
    """torch.where(condition, scores, −∞)."""
    number = other.number if isinstance(other, Constant) else step.both(other)
    if condition.same is None or number is None or number[0] > MASKED:
        raise Unreadable("torch.where of attention's products and other numbers", "use no mask or a causal one")
    return kept(step, x, condition.same)
