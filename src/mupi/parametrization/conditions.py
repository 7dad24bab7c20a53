"""An abc-parametrization's verdict in words: which condition holds, which fails, what to change."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from mupi.parametrization.exponents import HALF, Exponents
from mupi.parametrization.nearest import distance, nearest_feature_learning

EVERY_WEIGHT = " For every weight to be maximally updated, take μP."


@dataclass(frozen=True)
class Condition:
    """One condition of the theorems.

    Attributes:
        part: What of the network it is about.
        formula: The condition with its value, for example ``2a + c = 0, must be ≥ 1``.
        holds: Whether it holds.
        meaning: What follows from that.
        fix: What would make it hold; empty if it does.
    """

    part: str
    formula: str
    holds: bool
    meaning: str
    fix: str = ""


def conditions(p: Exponents) -> Iterator[Condition]:
    """The conditions for stability, layer by layer, and what each layer's update does (Yang & Hu 2021)."""
    L = p.depth
    for layer, (a, b) in enumerate(zip(p.a[:-1], p.b[:-1], strict=True), start=1):
        yield _initial_size(layer, a, b)
    s = p.initial_readout
    start = "f starts as a Gaussian process" if s == HALF else f"f starts as Θ({power(HALF - s)}), so at 0 in the limit"
    yield Condition(
        f"readout W^{L + 1}, start",
        f"a + b = {s}, must be ≥ 1/2",
        s >= HALF,
        start if s >= HALF else f"f starts as Θ({power(HALF - s)})",
        "" if s >= HALF else f"raise b_{L + 1} to {HALF - p.a[-1]}",
    )
    for layer, r in enumerate(p.layer_r, start=1):
        size = (
            "moves h by Θ(1): maximally updated"
            if r == 0
            else f"moves h by Θ({power(-r)}), {'which blows up' if r < 0 else 'nothing in the limit'}"
        )
        yield Condition(
            f"layer {layer}, update",
            f"r_{layer} = {r}, must be ≥ 0",
            r >= 0,
            f"W^{layer} {size}",
            "" if r >= 0 else f"raise c, or a_{layer} by {-r / 2}",
        )
    u = p.readout_update
    readout = "maximally updated" if u == 1 else "blows up" if u < 1 else "nothing in the limit"
    yield Condition(
        f"readout W^{L + 1}, update",
        f"2a + c = {u}, must be ≥ 1",
        u >= 1,
        f"its update moves f by Θ({power(1 - u)}): {readout}",
        "" if u >= 1 else f"raise c by {1 - u}, or a_{L + 1} by {(1 - u) / 2}",
    )
    v = s + p.r
    yield Condition(
        "features through the readout",
        f"a + b + r = {v}, must be ≥ 1",
        v >= 1,
        f"the change of features moves f by Θ({power(1 - v)})",
        "" if v >= 1 else f"raise a_{L + 1}, b_{L + 1} or c",
    )


def explain(p: Exponents) -> str:
    """The verdict, then every condition, then what to change; several lines of plain text."""
    lines = [verdict(p), ""]
    for condition in conditions(p):
        mark = "✓" if condition.holds else "✗"
        fix = f"; {condition.fix}" if condition.fix else ""
        lines.append(f"{mark} {condition.part}: {condition.formula}: {condition.meaning}{fix}")
    return "\n".join([*lines, "", advice(p)])


def verdict(p: Exponents) -> str:
    """One sentence."""
    if p.is_maximal:
        return "Maximal update parametrization (μP): stable, and every weight learns features (r = 0)."
    if not p.stable_at_init:
        return "Unstable: already at the start some layer vanishes or blows up with width."
    if not p.stable:
        return f"Unstable: training blows up with width (r = {p.r}, 2a_{p.depth + 1} + c = {p.readout_update})."
    if not p.nontrivial:
        return "Trivial: stable, but training does not move f in the limit."
    if p.kernel_regime:
        return f"Kernel regime: stable and nontrivial, but features do not move in the limit (r = {p.r} > 0)."
    idle = [f"W^{i}" for i, maximal in enumerate(p.maximally_updated, start=1) if not maximal]
    rest = f", though {', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not maximally updated" if idle else ""
    return f"Feature learning: stable and nontrivial, r = 0{rest}."


def advice(p: Exponents) -> str:
    """What to change to learn features."""
    if p.learns_features:
        return f"Nothing to change: it learns features.{'' if p.is_maximal else EVERY_WEIGHT}"
    q = Exponents(*nearest_feature_learning(p))
    names = [f"{x}_{i}" for x in "ab" for i in range(1, p.depth + 2)] + ["c"]
    changes = [
        f"{name}: {old} → {new}"
        for name, old, new in zip(names, (*p.a, *p.b, p.c), (*q.a, *q.b, q.c), strict=True)
        if old != new
    ]
    end = " (this is μP)." if q.is_maximal else f".{EVERY_WEIGHT}"
    return f"To learn features change {', '.join(changes)}; in all by {distance(p, q)}{end}"


def power(exponent: Fraction) -> str:
    """n^exponent in print."""
    if exponent == 0:
        return "1"
    return (
        "n" if exponent == 1 else f"n^{exponent}" if exponent.denominator == 1 and exponent > 0 else f"n^({exponent})"
    )


def _initial_size(layer: int, a: Fraction, b: Fraction) -> Condition:
    wanted = HALF if layer > 1 else Fraction(0)
    off = wanted - a - b
    what = "is Θ(1)" if off == 0 else f"is Θ({power(off)}) for an input of Θ(1)"
    return Condition(
        f"layer {layer}, start",
        f"a + b = {a + b}, must be {wanted}",
        off == 0,
        f"h^{layer} {what}",
        "" if off == 0 else f"set b_{layer} to {wanted - a}",
    )
