"""What the steps of a kernel compute: functions of `Pairs` and the tensors that they read."""

import torch
from torch import Tensor

from mupi.activations import Activation, arcs
from mupi.activations.determinant import differentiated
from mupi.activations.rectifiers import Rectifier
from mupi.architecture.kernel import averages
from mupi.architecture.kernel.settings import Number
from mupi.architecture.kernel.sides import Side as Map
from mupi.architecture.kernel.steps import Key, Pairs, Side
from mupi.architecture.weights import Conv
from mupi.kernels.inner_products import snap_parallel, unseen


def gram(pairs: Pairs, *, a: int, b: int, everywhere: bool, integers: bool) -> Tensor:
    """Moments of data."""
    if (a, b) in pairs.grams:
        return pairs.grams[a, b]
    x, y = pairs.left.roots[a], pairs.right.roots[b]
    if integers:
        return averages.of_tokens(x, y, pairs.paired, everywhere, pairs.dtype)
    scale = pairs.left.scale * pairs.right.scale
    out = averages.of_data(x, y, pairs.paired, everywhere)
    return out if scale == 1 else out / scale


def gram_of_patches(pairs: Pairs, *, a: int, b: int, conv: Conv) -> Tensor:
    """Moments of all that a convolution reads at each place."""
    scale = pairs.left.scale * pairs.right.scale
    out = averages.of_data(pairs.left.patches(a, conv), pairs.right.patches(b, conv), pairs.paired, True)
    return out if scale == 1 else out / scale


def positions(pairs: Pairs, *, axes: tuple[int, ...], everywhere: bool) -> Tensor:
    """Moments of a vector for each position."""
    like = pairs.left.like
    out = averages.of_positions(axes, everywhere, like.new_empty((), dtype=pairs.dtype))
    return out[(None,) * pairs.batch].expand(*pairs.sizes, *out.shape)


def constant(pairs: Pairs, *, axes: tuple[int, ...], value: Number) -> Tensor:
    """A number."""
    return (pairs.left.like.new_zeros((), dtype=pairs.dtype) + value).expand(*pairs.sizes, *axes)


def over_offsets(pairs: Pairs, t: Tensor, *, conv: Conv, everywhere: bool) -> Tensor:
    """The average over a kernel's offsets."""
    n = len(conv.size)
    axes = [(pairs.batch + i, pairs.batch + n + i) if everywhere else (pairs.batch + i,) for i in range(n)]
    return averages.over_offsets(t, conv, axes)


def of_side(pairs: Pairs, *, on_the_left: bool, key: Key) -> Tensor:
    """What was computed of each input by itself."""
    return (pairs.left if on_the_left else pairs.right).values[key]


def affine(pairs: Pairs, t: Tensor, *, factor: Number, constant: Number) -> Tensor:
    """``factor``·t + ``constant``."""
    out = factor * t
    return out + constant if constant else out


def plus(pairs: Pairs, t: Tensor, other: Tensor, *, factor: Number) -> Tensor:
    """t + ``factor``·other."""
    out = factor * other
    return t + out if differentiated(t, out) else out.add_(t)


def scaled(pairs: Pairs, t: Tensor, *, factor: float) -> Tensor:
    """``factor``·t."""
    return factor * t


def times(pairs: Pairs, t: Tensor, other: Tensor) -> Tensor:
    """t·other."""
    return t * other


def item(pairs: Pairs, both: tuple[Tensor, ...], *, which: int) -> Tensor:
    """One of some."""
    return both[which]


def on_input(pairs: Pairs, t: Tensor, *, side: Map) -> Tensor:
    """A map of the positions of a value of each input."""
    return side(t, 1)


def on_one(pairs: Pairs, t: Tensor, *, side: Map, at: int) -> Tensor:
    """A map of the positions of one side, which begin ``at`` those of pairs."""
    return side(t, pairs.batch + at)


def on_both(pairs: Pairs, t: Tensor, *, left: Map, right: Map, at: int | None) -> Tensor:
    """Maps of the positions of both sides, of which the second begin ``at``; None where p = p'."""
    if at is not None:
        t = right(t, pairs.batch + at)
    return left(t, pairs.batch)


def mean_of_last(pairs: Pairs, t: Tensor, *, axes: int) -> Tensor:
    """The mean over the last axes."""
    return t.flatten(-axes).mean(-1)


def times_side(pairs: Pairs, t: Tensor, factor: Tensor, *, on_the_left: bool, others: int) -> Tensor:
    """t times a number of each input and position of one side."""
    return t * pairs.view(factor, on_the_left, others)


def times_sides(pairs: Pairs, t: Tensor, left: Tensor, right: Tensor, *, others: int) -> Tensor:
    """t times a number of each side."""
    return t * pairs.view(left, True, others) * pairs.view(right, False, others)


def outer(pairs: Pairs, left: Tensor, right: Tensor, *, others: tuple[int, int]) -> Tensor:
    """A number of the left times one of the right."""
    return pairs.view(left, True, others[0]) * pairs.view(right, False, others[1])


def duals(
    pairs: Pairs,
    var_u: Tensor,
    cov: Tensor,
    var_v: Tensor,
    *,
    φ: Activation,
    both: bool,
    keys: tuple[Key, Key],
    others: tuple[int, int],
) -> Tensor | tuple[Tensor, Tensor]:
    """E φφ, and E φ'φ'; parallel pairs are exactly parallel."""
    if isinstance(φ, Rectifier) and cov.numel() >= arcs.FEW and not differentiated(cov):
        left, right = _roots(pairs.left, keys[0], var_u), _roots(pairs.right, keys[1], var_v)
        if left is not None and right is not None:
            u, v = pairs.view(left, True, others[0], 1), pairs.view(right, False, others[1], 1)
            moment, slope = arcs.rectified(u, cov, v, odd=φ.odd, even=φ.even, least=unseen(cov.dtype), slope=both)
            return moment if slope is None else (moment, slope)
    var_u, var_v = pairs.view(var_u, True, others[0]), pairs.view(var_v, False, others[1])
    cov = snap_parallel(var_u, cov, var_v)
    return φ.dual_and_slope(var_u, cov, var_v) if both else φ.dual(var_u, cov, var_v)


def _roots(side: Side, key: Key, var: Tensor) -> arcs.Split | None:
    """Roots of variances, which may be known of each input."""
    return side.split(key) if key in side.values else arcs.split(var)


def times_slope(pairs: Pairs, t: Tensor, both: tuple[Tensor, Tensor]) -> Tensor:
    """Θ ∘ E φ'φ'."""
    return t * both[1]


def with_gains(
    pairs: Pairs, t: Tensor, moment: Tensor, both: tuple[Tensor, Tensor], products: Tensor, *, rate: float
) -> Tensor:
    """Θ ∘ E φ'φ', of which gains have ω E hh E φ'φ', with their ω E ψψ instead."""
    return t + rate * (products - moment * both[1])


def dual_of_one(pairs: Pairs, var: Tensor, *, φ: Activation) -> Tensor:
    """E φ²."""
    return φ.dual(var, var, var)


def mean(pairs: Pairs, var: Tensor, *, φ: Activation) -> Tensor:
    """E φ(u)."""
    return φ.hermite(0, root(var))


def mean_slope(pairs: Pairs, var: Tensor, *, φ: Activation) -> Tensor:
    """E φ'(u) = E φ(u)u/E u², by its limit at a small variance."""
    scale = root(var).clamp_min(1e-3 if var.dtype == torch.float32 else 1e-6)
    return φ.hermite(1, scale) / scale


def root(var: Tensor) -> Tensor:
    """√var, of which a derivative at 0 is 0."""
    positive = var > 0
    return torch.where(positive, torch.where(positive, var, 1).sqrt(), 0)


def factor(pairs: Pairs, moment: Tensor, mean: Tensor | None = None, *, eps: float) -> Tensor:
    """1/√(variance + eps), and 0 where that is 1/0."""
    var = (moment if mean is None else moment - mean.square()) + eps
    positive = var > 0
    return torch.where(positive, torch.where(positive, var, 1).rsqrt(), 0)


def moved_apart(
    pairs: Pairs, k: Tensor, var_u: Tensor, var_v: Tensor, *, others: tuple[int, int], constant: Number
) -> Tensor:
    """K^1; where it is asked for, moved by twice the rounding that counts as parallel."""
    if not pairs.moved:
        return k
    var_u, var_v = pairs.view(var_u, True, others[0]), pairs.view(var_v, False, others[1])
    step = 16 * torch.finfo(k.dtype).eps * var_u.sqrt() * var_v.sqrt()
    return k - step.copysign(k - constant)
