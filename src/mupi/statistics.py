"""A power law in width, fitted to measurements over widths and seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """size ≈ constant·n^slope, by least squares of log size on log n over all widths and seeds.

    Attributes:
        quantity: What was measured, for example ``|Δh|``.
        part: Of which part of the network.
        widths: The values of n.
        sizes: For each width, one size for each seed.
        predicted: The exponent that theory predicts, if there is one.
    """

    quantity: str
    part: str
    widths: tuple[int, ...]
    sizes: tuple[tuple[float, ...], ...]
    predicted: float | None = None

    @cached_property
    def _fit(self) -> tuple[float, float, float]:
        """Slope, half the width of its confidence interval, and log constant; NaN if a size is not positive."""
        from scipy.special import stdtrit  # here, as its import takes long

        seeds = len(self.sizes[0])
        x = np.repeat(np.log(self.widths), seeds)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(np.ravel(self.sizes))
        if not np.isfinite(y).all():
            return math.nan, math.nan, math.nan
        spread = ((x - x.mean()) ** 2).sum()
        slope = ((x - x.mean()) * y).sum() / spread
        constant = y.mean() - slope * x.mean()
        freedom = len(y) - 2
        if freedom < 1:
            return float(slope), math.nan, float(constant)
        error = math.sqrt(((y - constant - slope * x) ** 2).sum() / freedom / spread)
        return float(slope), float(stdtrit(freedom, (1 + CONFIDENCE) / 2) * error), float(constant)

    @property
    def slope(self) -> float:
        """The measured exponent; NaN if a size is zero, infinite or NaN."""
        return self._fit[0]

    @property
    def half_width(self) -> float:
        """The exponent's 95 % confidence interval is slope ± this; NaN for two measurements, which fit exactly."""
        return self._fit[1]

    @property
    def zero(self) -> bool:
        """Whether every size is exactly 0: no exponent, and as small as can be."""
        return not np.any(self.sizes)

    def line(self, slope: float) -> list[float]:
        """A power law of this slope through the middle of the measurements, at each width."""
        logs = np.log(self.typical_sizes)
        usable = np.isfinite(logs)
        middle = (logs - slope * np.log(self.widths))[usable].mean() if usable.any() else math.nan
        return [math.exp(middle) * n**slope for n in self.widths]

    @property
    def typical_sizes(self) -> list[float]:
        """The geometric mean over seeds at each width."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.exp(np.log(np.asarray(self.sizes)).mean(1)).tolist()

    @property
    def spread(self) -> tuple[list[float], list[float]]:
        """How far the smallest and the largest size are from the typical one at each width, as error bars take it."""
        typical = np.asarray(self.typical_sizes)
        # A geometric mean of equal sizes may round to either side of them.
        low, high = (np.fmax(gap, 0.0) for gap in (typical - np.min(self.sizes, 1), np.max(self.sizes, 1) - typical))
        return low.tolist(), high.tolist()

    def agrees(self, tolerance: float) -> bool:
        """Whether the measured exponent is the predicted one, up to ``tolerance``; False if there is none of either."""
        return self.predicted is not None and abs(self.slope - self.predicted) <= tolerance

    def to_json(self) -> dict:
        """Everything, as JSON has it: what is not a number is None."""

        def number(x: float) -> float | None:
            return x if math.isfinite(x) else None

        return {
            "quantity": self.quantity,
            "part": self.part,
            "predicted": self.predicted,
            "slope": number(self.slope),
            "half_width": number(self.half_width),
            "widths": list(self.widths),
            "sizes": [[number(size) for size in seeds] for seeds in self.sizes],
        }


def trend(law: PowerLaw, tolerance: float) -> str:
    """In words, whether a quantity grows, stays or vanishes with width."""
    if not math.isfinite(law.slope):
        sizes: Sequence[float] = [size for seeds in law.sizes for size in seeds]
        if all(math.isfinite(size) for size in sizes):
            return "exactly zero" if law.zero else "exactly zero in some networks"
        first = next(n for n, seeds in zip(law.widths, law.sizes, strict=True) if not np.isfinite(seeds).all())
        return f"not finite from width {first} on"
    if abs(law.slope) <= tolerance:
        return "keeps its size"
    return "grows" if law.slope > 0 else "vanishes"
