"""How large a parameter starts: measured at the base and at the width, and the power of the width that lies between."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import exp, inf, isfinite, log, sqrt

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.optim.fans import Fans

POWERS = tuple(Fraction(k, 2) for k in range(-4, 5))
"""Exponents that a law of initial values may have."""

FEW = 16
"""Entries below which their spread says nothing about the law that they are from."""

SIGMAS = 4.0


@dataclass(frozen=True)
class Moments:
    """Sums over the entries of draws of a parameter, in double precision.

    Attributes:
        count: How many entries.
        second: Sum of squares.
        fourth: Sum of fourth powers.
        eps: Rounding of the dtype.
    """

    count: int
    second: float
    fourth: float
    eps: float

    @classmethod
    def of(cls, p: Tensor) -> "Moments":
        """Those of a parameter."""
        p = p.detach()
        norms = (float(torch.linalg.vector_norm(p, k, dtype=torch.float64)) for k in (2, 4))
        second, fourth = (norm**k for norm, k in zip(norms, (2, 4), strict=True))
        return cls(p.numel(), second, fourth, torch.finfo(p.dtype).eps)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.second + other.second, self.fourth + other.fourth, self.eps)

    @property
    def rms(self) -> float:
        """√ mean of squares."""
        return sqrt(self.second / self.count) if self.count else 0.0

    @property
    def error(self) -> float:
        """The relative standard error of `rms`, of independent entries; 0 where all are of one size."""
        if self.second == 0:
            return 0.0
        kurtosis = self.count * self.fourth / self.second**2
        spread = sqrt(max(kurtosis - 1, 0.0) / (4 * self.count))
        return 0.0 if spread < 8 * self.eps else spread


@dataclass(frozen=True)
class Initial:
    """How initial values are changed.

    Attributes:
        base: The size (root mean square) of the entries at the base.
        wide: The size that they have in the model of the width, after the change.
        factor: What they were multiplied by; 1 leaves them alone.
        law: The powers of r_in and r_out (or of the owner's, or the width's) by which the user's own sizes go; None if
            they go by none.
        error: Relative standard error of the factor: 0 where it follows from a law.
    """

    base: float
    wide: float
    factor: float
    law: tuple[Fraction, Fraction] | None
    error: float


def std_ratio(fans: Fans) -> float:
    """What μP multiplies the size of initial entries by: 1, r_in^{−½} of hidden weights, 1/r_in of readouts."""
    power = {"hidden": -0.5, "readout": -1.0}.get(fans.role, 0.0)
    return float(fans.in_ratio) ** power


def initial(name: str, fans: Fans, base: Moments, wide: Moments, ratios: tuple[Fraction, Fraction]) -> Initial:
    """The change of a parameter's initial values.

    Args:
        name: For messages.
        fans: Sizes of the parameter.
        base: Its entries at the base.
        wide: Its entries in the user's model of the width.
        ratios: Those whose powers the user's law may have: of what its module reads and feeds.

    Raises:
        ValueError: If it is zero at one width and not at the other.
    """
    if not (isfinite(base.rms) and isfinite(wide.rms)):
        fail("parametrize(make_model, ...)", "a function whose parameters start finite", f"`{name}` that does not")
    if base.rms == 0 and wide.rms == 0:
        return Initial(0.0, 0.0, 1.0, (Fraction(0), Fraction(0)), 0.0)
    if base.rms == 0 or wide.rms == 0:
        came = f"`{name}` of size {base.rms:.3g} at the base and {wide.rms:.3g} at the width"
        fail(
            "parametrize(make_model, ...)", "a function whose parameters start at zero at both widths or at none", came
        )
    target, error = std_ratio(fans), sqrt(base.error**2 + wide.error**2)
    law = snapped(wide.rms / base.rms, base, wide, ratios)
    if law is None:
        factor = target * base.rms / wide.rms
    else:
        factor, error = target / _power(law, ratios), 0.0
        # What both powers come to by rounding differently is no change.
        factor = 1.0 if abs(factor - 1) < 1e-12 else factor
    return Initial(base.rms, wide.rms * factor, factor, law, error)


def deeper(
    name: str, start: Initial, size: float, sums: tuple[Moments, Moments], ratios: Sequence[Fraction]
) -> Initial:
    """The change of initial values by width and by depth.

    Args:
        name: For messages.
        start: What width changes.
        size: What the entries are multiplied by as the network becomes deeper.
        sums: Of the parameter's copies at the base depth and at the depth, both at the base width.
        ratios: Those whose powers the user's own law may have: how many times as many copies, and as deep.

    Raises:
        ValueError: If it is zero at one depth and not at the other.
    """
    shallow, deep = sums
    if (shallow.rms == 0) != (deep.rms == 0):
        came = f"`{name}` of size {shallow.rms:.3g} at the base depth and {deep.rms:.3g} at the depth"
        fail("parametrize(make_model, ...)", "a function whose parameters start at zero at both depths or none", came)
    if shallow.rms == 0:
        return start
    measured, error = deep.rms / shallow.rms, sqrt(shallow.error**2 + deep.error**2)
    tolerance = SIGMAS * error + 8 * max(shallow.eps, deep.eps)
    # Few initial values know of depth: first none of it, then the smaller powers.
    laws = sorted(((p, r) for p in POWERS for r in ratios), key=lambda law: (abs(law[0]), law[0]))
    own = next((float(r) ** float(p) for p, r in laws if abs(log(measured / float(r) ** float(p))) <= tolerance), None)
    factor = size / (measured if own is None else own)
    factor = 1.0 if abs(factor - 1) < 1e-12 else factor
    base = Initial(shallow.rms, start.wide * factor, start.factor * factor, start.law, start.error)
    return base if own is not None else replace(base, law=None, error=sqrt(start.error**2 + error**2))


def snapped(
    measured: float, base: Moments, wide: Moments, ratios: tuple[Fraction, Fraction]
) -> tuple[Fraction, Fraction] | None:
    """The law that a ratio of sizes agrees with, within the noise of sampling; None if none, or if many would.

    Args:
        measured: The ratio.
        base: The entries at the base.
        wide: Those at the width.
        ratios: Whose powers it may be.
    """
    deviation = {law: abs(log(measured / _power(law, ratios))) for law in product(POWERS, POWERS)}
    rounding = 8 * max(base.eps, wide.eps)
    noise = SIGMAS * sqrt(base.error**2 + wide.error**2)
    for laws, tolerance in ((_simple(deviation), rounding), (deviation, rounding), (_simple(deviation), noise),
                            (deviation, noise)):  # fmt: skip
        best = min(laws, key=lambda law: (laws[law] > rounding and laws[law], _complexity(law)))
        if laws[best] <= tolerance and (tolerance == rounding or not _vague(noise, base, wide, ratios)):
            return best
    return None


def _simple(deviation: dict[tuple[Fraction, Fraction], float]) -> dict[tuple[Fraction, Fraction], float]:
    """Powers of one ratio."""
    return {law: d for law, d in deviation.items() if 0 in law}


def _complexity(law: tuple[Fraction, Fraction]) -> Fraction:
    return abs(law[0]) + abs(law[1]) * Fraction(9, 8)


def _vague(noise: float, base: Moments, wide: Moments, ratios: Sequence[Fraction]) -> bool:
    """Whether the noise reaches half-way to the next law."""
    steps = [abs(log(r)) / 2 for r in ratios if r != 1]
    return min(base.count, wide.count) < FEW or noise > min(steps, default=inf) / 2


def _power(law: tuple[Fraction, Fraction], ratios: tuple[Fraction, Fraction]) -> float:
    return exp(sum(float(e) * log(r) for e, r in zip(law, ratios, strict=True)))
