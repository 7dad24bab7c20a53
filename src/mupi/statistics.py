"""Exponents in width, intervals, and gains: what is said of measurements over widths, seeds and images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np

CONFIDENCE = 0.95
NORMAL = 1.96
"""Standard errors to both sides of the mean of many, for this confidence."""


def student(freedom: int) -> float:
    """Standard errors to both sides for 95 % of Student's t."""
    from scipy.special import stdtrit  # here, as its import takes long

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def of_mean_of_many(deviation: float, n: int) -> float:
    """Half the 95 % interval of the mean of n independent numbers, 1.96 standard errors; infinite for one.

    Args:
        deviation: Their standard deviation.
        n: The number of values whose mean it is, many.
    """
    return NORMAL * deviation / n**0.5 if n > 1 else math.inf


def leave_one_out(estimate: Callable[[list[Any]], float], seeds: Sequence[Any]) -> float:
    """Half the 95 % interval of what is estimated from independent seeds together, by the jackknife.

    With θ_i the estimate without seed i, the standard error is √((m − 1)/m Σ_i (θ_i − θ̄)²), and Student's t has m − 1
    degrees of freedom (Tukey 1958). Of a mean it is the usual interval; of other smooth functions of many seeds nearly
    so. Each seed is left out with all that belongs to it, so that nothing dependent is counted twice.

    Args:
        estimate: Gives the estimate from some of the seeds.
        seeds: All of them; NaN for fewer than two.
    """
    m = len(seeds)
    if m < 2:
        return math.nan
    left = np.array([estimate([*seeds[:i], *seeds[i + 1 :]]) for i in range(m)])
    return student(m - 1) * math.sqrt((m - 1) / m * ((left - left.mean()) ** 2).sum())


def number(x: float) -> float | None:
    """A number as JSON has it: what is none, or infinite, is None."""
    return x if math.isfinite(x) else None


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and, of more than one, standard deviation in words; nothing of none."""
    if not values:
        return ""
    deviation = f" ± {stdev(values):,.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):,.{digits}f}{deviation}"


def exponent(n: Any, sizes: Any, relative_errors: Any = 0.0) -> tuple[float, float]:
    """e of sizes ∝ n^e, by least squares of the logarithms, and its standard error from those of the sizes."""
    x = np.log(n) - np.log(n).mean()
    return float(x @ np.log(sizes) / (x @ x)), float(np.linalg.norm(x * relative_errors) / (x @ x))


def weighted_exponent(n: Any, sizes: Any, relative_errors: Any) -> tuple[float, float]:
    """The same weighted by the precision of the logarithms, 1/relative error², and its standard error."""
    weights = np.asarray(relative_errors) ** -2.0
    x = np.log(n) - np.average(np.log(n), weights=weights)
    precision = float(weights @ x**2)
    return float((weights * x) @ np.log(sizes) / precision), precision**-0.5


@dataclass(frozen=True)
class PowerLaw:
    """size ≈ constant·n^slope, by least squares of log size on log n over all widths and seeds.

    Attributes:
        quantity: What was measured, for example ``|Δh|``.
        part: Of which part of the network.
        widths: The widths n.
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
        return float(slope), student(freedom) * error, float(constant)

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


@dataclass(frozen=True)
class Gain:
    """A difference of two accuracies, of methods that were tested on the same images.

    Attributes:
        mean: Over images and seeds, −1 to 1.
        over_images: Half of the 95 % interval for these networks on other images of the kind.
        by_seed: The difference of each seed.
    """

    mean: float
    over_images: float
    by_seed: tuple[float, ...]

    @classmethod
    def of(cls, better: Sequence[np.ndarray], worse: Sequence[np.ndarray]) -> "Gain":
        """From which images each seed classified right.

        The interval is 1.96 standard errors of the paired differences, each the mean over the seeds.

        Args:
            better: One array of 0 and 1 a seed.
            worse: The same; a single one for what no seed changes.
        """
        pairs = zip(better, worse if len(worse) == len(better) else list(worse) * len(better), strict=True)
        differences = np.array([np.asarray(a, float) - np.asarray(b, float) for a, b in pairs])
        by_image = differences.mean(0)
        return cls(
            float(differences.mean()),
            of_mean_of_many(float(by_image.std(ddof=1)) if len(by_image) > 1 else 0.0, len(by_image)),
            tuple(float(d) for d in differences.mean(1)),
        )

    @property
    def over_seeds(self) -> float | None:
        """Half of the 95 % interval for other seeds, from Student's t; None for one seed."""
        seeds = len(self.by_seed)
        if seeds < 2:
            return None
        return float(student(seeds - 1) * np.std(self.by_seed, ddof=1) / seeds**0.5)

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} ± {100 * self.over_images:.2f}"
