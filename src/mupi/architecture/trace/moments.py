"""LayerNorm and RMSNorm, PyTorch's and those written by hand."""

from dataclasses import replace
from typing import Any

import torch

from mupi.architecture.coordinates import Normalize
from mupi.architecture.trace.formula import Formula
from mupi.architecture.trace.layout import CHANNELS, Unreadable
from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.values import Centered, Moment, Parameter, Traced

from mupi.architecture.trace.extents import Scaling  # isort: skip

aten = torch.ops.aten

BY_BATCH = "one whose values depend on the other samples of the batch, so that no limit describes a sample by itself"


@translates(aten.layer_norm)
def layer_norm(step: Step, x: Any, shape: Any, gain: Any = None, shift: Any = None, eps: float = 1e-5, *_: Any) -> Any:
    """LayerNorm over the width."""
    return over_width(step, x, len(shape), True, eps, gain, shift)


@translates(aten.rms_norm)
def rms_norm(step: Step, x: Any, shape: Any, gain: Any = None, eps: float | None = None) -> Any:
    """RMSNorm over the width."""
    eps = torch.finfo(step.first.meta["val"].dtype).eps if eps is None else eps
    return over_width(step, x, len(shape), False, eps, gain, None)


def over_width(step: Step, x: Any, axes: int, subtract: bool, eps: float, gain: Any, shift: Any) -> Traced:
    """A normalization of the last axes, which must be the width."""
    if not isinstance(x, Traced):
        raise Unreadable("a normalization of something else than a value")
    x = step.plain(x)
    if not step.shape(x).is_layer:
        raise Unreadable("a normalization of an axis that does not grow with the width", "normalize layers only")
    if axes != 1 or not step.is_whole(x.axes[-1], x):
        raise Unreadable("a normalization of something else than all of the width", "normalize over the last axis, the "
                         "channels, and neither positions nor heads")  # fmt: skip
    uses = {}
    for kind, p in (("gain", gain), ("shift", shift)):
        if p is not None:
            if not isinstance(p, Parameter) or p.scaling != Scaling():
                raise Unreadable(f"a {kind} that is no parameter of the module")
            uses[kind] = (p, p.axes)
    operation = Normalize(subtract, float(eps), gain is not None, shift is not None)
    return replace(x, place=step.write(operation, x.place, uses=uses))


@translates(aten.batch_norm, aten._native_batch_norm_legit, aten.native_batch_norm, aten.cudnn_batch_norm)
@translates(aten._native_batch_norm_legit_no_training)
def batch_norm(step: Step, *_: Any) -> Any:
    """Refused."""
    raise Unreadable(f"BatchNorm, {BY_BATCH}", "use nn.LayerNorm or nn.RMSNorm over channels; no reading takes it")


@translates(aten.group_norm, aten.instance_norm)
def group_norm(step: Step, *_: Any) -> Any:
    """Refused."""
    raise Unreadable("a normalization over groups of channels or over positions",
                     "use nn.LayerNorm or nn.RMSNorm over channels, at each position")  # fmt: skip


def moment(step: Step, x: Traced | Centered, dims: list[int], keep: bool, correction: float | None = None) -> Moment:
    """A mean over the width."""
    axes = tuple(() if d in dims else axis for d, axis in enumerate(x.axes) if keep or d not in dims)
    if isinstance(x, Centered):
        whole_width = len(dims) == 1 and step.is_whole(x.axes[dims[0]], x.of)
        if not x.squared or not whole_width:
            raise Unreadable("a mean of a centered value")
        return Moment(x.of, axes, "variance")
    if len(dims) != 1 or not step.is_whole(x.axes[dims[0]], x):
        raise Unreadable("a mean over a part of the width, or over width and positions together")
    if correction is not None:
        if correction:
            raise Unreadable("a variance with n − 1", "use unbiased=False (correction=0)")
        return Moment(step.plain(x), axes, "variance")
    of = squared_of(x)
    if of is not None:
        return Moment(step.plain(of), axes, "square")
    return Moment(step.plain(x), axes, "mean")


@translates(aten.var)
def variance(step: Step, x: Any, dim: Any = None, *rest: Any) -> Any:
    """The variance over the width."""
    if not isinstance(x, Traced) or dim is None or isinstance(dim, bool):
        raise Unreadable("a variance of all numbers")
    dims = [d % len(x.axes) for d in ([dim] if isinstance(dim, int) else dim)]
    correction = step.options.get("correction", 1)
    keep = bool(step.options.get("keepdim", False))
    if rest:
        correction, keep = float(rest[0]), bool(rest[1]) if len(rest) > 1 else False
    return moment(step, x, dims, keep, 1.0 if correction is None else float(correction))


def squared_of(x: Traced) -> Traced | None:
    """What a value is the square of, if it was written as a square."""
    formula = x.formula
    if formula.operation == "pow.Tensor_Scalar" and formula.arguments[1] == 2 and x.scaling.factor > 0:
        inner = formula.arguments[0]
        assert isinstance(inner, Formula)
        return replace(x, formula=inner, scaling=x.scaling**0.5)
    return None


def centered(step: Step, x: Traced, mean: Moment) -> Centered:
    """x less its mean over the width."""
    if mean.power != 1 or mean.eps or step.plain(x).place != mean.of.place:
        raise Unreadable("a mean over the width that is taken from another value")
    return Centered(step.plain(x), x.axes)


def added_to_moment(m: Moment, eps: float) -> Moment:
    """A moment plus eps."""
    if m.power != 1 or eps < 0 or m.kind == "mean":
        raise Unreadable("a number added to a root of a moment", "add eps before the root")
    return replace(m, eps=m.eps + eps)


def powered(m: Moment, power: float) -> Moment:
    """A power of a moment."""
    if m.kind == "mean":
        raise Unreadable("a power of a mean over the width")
    return replace(m, power=m.power * power)


def normalized(step: Step, x: Traced | Centered, by: Moment) -> Traced:
    """x divided by the root of a moment of itself."""
    of = x.of if isinstance(x, Centered) else step.plain(x)
    subtract = isinstance(x, Centered)
    fits = of.place == by.of.place and by.power == -0.5 and by.kind == ("variance" if subtract else "square")
    if not fits or (subtract and isinstance(x, Centered) and x.squared):
        raise Unreadable("a mean over the width that does not normalize the value it is of",
                         "use nn.LayerNorm or nn.RMSNorm")  # fmt: skip
    d = next(i for i, axis in enumerate(x.axes) if any(a.axis == CHANNELS for a in axis))
    expected = tuple(axis for i, axis in enumerate(x.axes) if i != d)
    if tuple(a for a in by.axes if a) != tuple(a for a in expected if a):
        raise Unreadable("a mean over the width of other positions")
    return Traced(step.write(Normalize(subtract, by.eps), of.place), x.axes)
