"""Losses over widths, rates and seeds: how far the best rate drifts, and what it costs to move it."""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from mupi.checks import fail, non_negative
from mupi.mup.best_rate import best_octave, last_before_divergence, loss_at
from mupi.statistics import number, student

DRAWS = 200
"""Of the bootstrap: the half-width of an interval is known to some 5 %."""


RESOLUTION = 0.03
"""Of steps of the grid: where a smooth minimum lies between its points is known no better."""


class TransferVerdict(StrEnum):
    """What a sweep says of moving a learning rate from the narrowest width to the widest."""

    TRANSFERS = "transfers"
    """The cost is below its bar with its whole interval, and nothing says that the drift is beyond its own."""
    FAILS = "does not transfer"
    """The drift or the cost is beyond its bar, with its whole interval."""
    UNDECIDED = "undecided"
    """The cost's interval holds its bar: more seeds, or a finer grid, would tell."""
    WIDEN = "widen the rates"
    """At some width the best rate is at the grid's edge, so that there may be better ones beyond it."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval.

    Attributes:
        value: The estimate.
        low: The interval's lower end; NaN for one seed, as the other.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    def within(self, bar: float) -> bool:
        """Whether the whole interval lies below the bar."""
        return self.high <= bar

    def beyond(self, bar: float) -> bool:
        """Whether the whole interval lies on one side, outside of it."""
        return abs(self.value) == math.inf or self.low > bar or self.high < -bar

    def shown(self, digits: int, unit: str) -> str:
        """In words: the number and, in brackets, the interval.

        Args:
            digits: After the point.
            unit: Of the number; per cent are hundredths.
        """
        times = 100 if unit == "%" else 1
        value, low, high = (f"{times * x:+.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} {unit} ({low} to {high})"


@dataclass(frozen=True, eq=False)
class RateSweep:
    """Losses at the end of training, for each width, learning rate and seed.

    Over seeds losses are averaged in the logarithm. The best rate of a width is the vertex of a local parabola, see
    `mupi.mup.best_rate`. Intervals are Student's, with the standard deviation of a bootstrap (Efron 1979): what each
    seed is above or below its width's mean, at all rates together, is drawn anew, for the two widths apart.

    >>> import numpy as np
    >>> octaves, seeds = np.arange(-10.0, -3), np.array([0.0, 0.01, -0.01])
    >>> def losses(best):
    ...     return np.exp(0.05 * (octaves[:, None] - best) ** 2 + seeds)
    >>> moved = RateSweep((64, 256), tuple(2**octaves), np.stack([losses(-6.0), losses(-7.5)]))
    >>> print(moved.explain())
    does not transfer: from width 64 to 256 the best rate drifts by -1.50 octaves (-1.53 to -1.47), ...
    >>> RateSweep((64, 256), tuple(2**octaves), np.stack([losses(-6.0), losses(-6.1)])).verdict
    <TransferVerdict.TRANSFERS: 'transfers'>

    Args:
        widths: Increasing.
        rates: Increasing learning rates.
        losses: Positive numbers; infinite or NaN where training diverged.
        drift_bar: How many octaves the best rate may drift from the narrowest to the widest width.
        excess_bar: By how much, relative to it, the loss of the moved rate may be above the best one.

    Raises:
        ValueError: For fewer than two widths or three rates, ones that do not increase, losses of other shapes or that
            are not positive.
    """

    widths: tuple[int, ...]
    rates: tuple[float, ...]
    losses: Float[np.ndarray, "widths rates seeds"]
    drift_bar: float = 0.25
    excess_bar: float = 0.05

    def __post_init__(self):
        check_grid("RateSweep", self.widths, self.rates)
        shape = (len(self.widths), len(self.rates))
        if self.losses.ndim != 3 or self.losses.shape[:2] != shape or not self.losses.shape[2]:
            fail("RateSweep(losses=...)", f"of shape ({shape[0]}, {shape[1]}, seeds)", self.losses.shape)
        if not (np.isnan(self.losses) | (self.losses > 0)).all():
            least = np.nanmin(self.losses)
            fail("RateSweep(losses=...)", "positive", least, "their ratio is what moving a rate costs; add a constant")
        for name in ("drift_bar", "excess_bar"):
            non_negative(f"RateSweep({name}=...)", getattr(self, name))

    @cached_property
    def octaves(self) -> Float[np.ndarray, " rates"]:
        """Base-2 logarithms of the rates."""
        return np.log2(self.rates)

    @cached_property
    def log_losses(self) -> Float[np.ndarray, "widths rates"]:
        """Means over seeds of the logarithms; infinite where a seed diverged."""
        return self._logs.mean(-1)

    @property
    def _logs(self) -> Float[np.ndarray, "widths rates seeds"]:
        return np.log(np.where(np.isfinite(self.losses), self.losses, np.inf))

    @cached_property
    def at_edge(self) -> dict[int, str]:
        """The widths whose best rate is an end of the grid, and to which side the grid is to be widened."""
        found = {}
        for width, losses in zip(self.widths, self.log_losses, strict=True):
            k = int(np.argmin(losses))
            if not math.isfinite(losses[k]) or k == 0:
                found[width] = "lower"
            elif k == len(losses) - 1:
                found[width] = "higher"
        return found

    @cached_property
    def best_rates(self) -> tuple[float, ...]:
        """The best rate of each width; NaN where training diverges at every rate."""
        return tuple(
            float(2 ** best_octave(self.octaves, losses)) if np.isfinite(losses).any() else math.nan
            for losses in self.log_losses
        )

    @cached_property
    def drift(self) -> Estimate:
        """Octaves from the best rate at the narrowest width to that at the widest.

        To the interval belongs what a grid cannot tell: .03 steps, and half a step at each end whose next rate
        diverges.
        """
        value = math.log2(self.best_rates[-1] / self.best_rates[0])
        half = math.nan if self._drawn is None else self._half_width(self._drawn[1][:, 1] - self._drawn[1][:, 0])
        half += self._unresolved
        return Estimate(value, value - half, value + half)

    @cached_property
    def excess(self) -> Estimate:
        """(loss of the narrowest width's best rate − least loss) / least loss, both at the widest width.

        The interval is symmetric in the logarithm of the ratio of the two losses.
        """
        value = self._log_ratio(self.log_losses[-1], best_octave(self.octaves, self.log_losses[[0, -1]]))
        half = math.nan
        if self._drawn is not None:
            half = self._half_width(np.array([self._log_ratio(e[1], at) for e, at in zip(*self._drawn, strict=True)]))
        low, high = (-math.inf, math.inf) if half == math.inf else (value - half, value + half)
        return Estimate(*(_expm1(x) for x in (value, low, high)))

    @cached_property
    def verdict(self) -> TransferVerdict:
        """One of four; no rate is said to transfer, or not to, while the grid does not hold the best ones.

        The bars are not alike: where a loss hardly depends on the rate nobody can tell where it is least, and nothing
        is lost by that. So it is the cost that must be shown to be small; the drift only must not be shown to be large.
        """
        if self.at_edge:
            return TransferVerdict.WIDEN
        if self.losses.shape[2] < 2:
            return TransferVerdict.UNDECIDED
        # A moved rate that does better than the vertex, as on a curve with a sharp minimum, costs nothing.
        if self.excess.low > self.excess_bar or self.excess.value == math.inf:
            return TransferVerdict.FAILS
        if self.drift.beyond(self.drift_bar):
            return TransferVerdict.FAILS
        if self.excess.within(self.excess_bar):
            return TransferVerdict.TRANSFERS
        return TransferVerdict.UNDECIDED

    @property
    def passed(self) -> bool:
        """Whether the verdict is that it transfers."""
        return self.verdict is TransferVerdict.TRANSFERS

    def explain(self) -> str:
        """The verdict in a line, with its numbers and what to do."""
        if self.at_edge:
            sides = ", ".join(f"{side} ones at width {width}" for width, side in self.at_edge.items())
            return f"{self.verdict}: the best one may be beyond {self.rates[0]:.3g} … {self.rates[-1]:.3g}; add {sides}"
        drift = f"{self.drift.shown(2, 'octaves')}, bar {self.drift_bar:g}"
        excess = f"{self.excess.shown(1, '%')}, bar {100 * self.excess_bar:g}"
        if math.inf in (self.excess.value, self.excess.high):
            excess = f"{'' if self.excess.value == math.inf else 'perhaps '}divergence"
        more = "; more seeds or a finer grid would tell" if self.verdict is TransferVerdict.UNDECIDED else ""
        return (
            f"{self.verdict}: from width {self.widths[0]} to {self.widths[-1]} the best rate drifts by {drift}; "
            f"moving it costs {excess}{more}"
        )

    @cached_property
    def _drawn(self) -> tuple[Float[np.ndarray, "draws 2 rates"], Float[np.ndarray, "draws 2"]] | None:
        """Log losses of the narrowest and the widest width in each draw, and their best octaves; None for one seed."""
        seeds = self.losses.shape[2]
        if seeds < 2:
            return None
        mean = self.log_losses[..., None]
        residuals = np.where(np.isfinite(mean), self._logs, 0) - np.where(np.isfinite(mean), mean, 0)
        residuals *= math.sqrt(seeds / (seeds - 1))
        drawn = np.random.default_rng(0).integers(seeds, size=(2, DRAWS, seeds))
        noise = [residuals[i][:, draw].mean(-1).T for i, draw in zip((0, -1), drawn, strict=True)]
        ends = self.log_losses[[0, -1]] + np.stack(noise, 1)
        return ends, best_octave(self.octaves, ends)

    def _half_width(self, draws: Float[np.ndarray, " draws"]) -> float:
        """Of what each draw gives; infinite if that is so in one."""
        seeds = self.losses.shape[2]
        return student(2 * (seeds - 1)) * float(draws.std(ddof=1)) if np.isfinite(draws).all() else math.inf

    def _log_ratio(self, log_losses: Float[np.ndarray, " rates"], best: Float[np.ndarray, " 2"]) -> float:
        """By how much the log loss of one width is above its least at the best octave of another."""
        moved, least = (loss_at(self.octaves, log_losses, float(octave)) for octave in best)
        return moved - least

    @property
    def _unresolved(self) -> float:
        """Octaves by which the two best rates together may be off whatever the seeds are."""
        steps = RESOLUTION
        for losses in self.log_losses[[0, -1]]:
            k = np.asarray(np.argmin(losses))
            beside_divergence = last_before_divergence(np.isfinite(losses), k) == k < len(losses) - 1
            steps += 0.5 * bool(beside_divergence)
        return steps * float(np.diff(self.octaves).max())

    def plot(self, title: str = "") -> Any:
        """Loss over rate, one curve a width: a figure of matplotlib.

        Args:
            title: Of the panel; the verdict if empty.
        """
        from mupi.figures.rate_sweep import plot_rate_sweeps  # here, as matplotlib is an extra

        return plot_rate_sweeps({title or self.verdict.value: self.panel})

    @property
    def panel(self) -> tuple[tuple[int, ...], tuple[float, ...], np.ndarray, tuple[float, ...]]:
        """What `mupi.figures.rate_sweep.plot_rate_sweeps` draws."""
        return self.widths, self.rates, self.losses, self.best_rates

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it: what is not a number is None."""
        return {
            "verdict": self.verdict.value,
            "explanation": self.explain(),
            "widths": list(self.widths),
            "rates": list(self.rates),
            "best_rates": [number(rate) for rate in self.best_rates],
            "drift": [number(x) for x in (self.drift.value, self.drift.low, self.drift.high)],
            "excess": [number(x) for x in (self.excess.value, self.excess.low, self.excess.high)],
            "bars": [self.drift_bar, self.excess_bar],
            "losses": [[[number(loss) for loss in seeds] for seeds in rates] for rates in self.losses.tolist()],
        }


def _expm1(x: float) -> float:
    """e^x − 1, infinite where that is beyond floating point."""
    return math.expm1(x) if x < 700 else math.inf


def check_grid(call: str, widths: tuple[int, ...], rates: tuple[float, ...]) -> None:
    """Refuse widths and rates of which nothing can be said.

    Raises:
        ValueError: For fewer than two widths or three rates, ones that are not positive or do not increase.
    """
    if len(widths) < 2 or any(b <= a for a, b in zip(widths, widths[1:], strict=False)) or widths[0] < 1:
        fail(f"{call}(widths=...)", "at least two widths, increasing", widths)
    ordered = all(b > a for a, b in zip(rates, rates[1:], strict=False))
    if len(rates) < 3 or not ordered or not rates[0] > 0 or not math.isfinite(rates[-1]):
        fail(f"{call}(rates=...)", "at least three positive rates, increasing", rates)
