"""The loss curve of a wide network from those of narrow ones, L(n, t) = L(∞, t) + c(t)/n, and the spread over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from mupi.checks import fail

DRAWS = 400
"""Of the bootstrap of the misfit: a probability of .05 is known to ± .01."""

DOUBT = 0.05
"""The misfit's probability below which narrow widths are said not to follow the law."""


@dataclass(frozen=True, eq=False)
class WidthLaw:
    """The curve of one run at a width, with a band, from runs at narrower ones.

    In a maximal update parametrization what a loss at width n is on average differs from its limit by c/n + O(1/n²):
    at each time, L(∞) and c are fitted by least squares, weighted by the precision of the means. Initial values make
    runs of one width differ by a standard deviation σ n^{−p}; p is fitted to all times together and kept between 0 and
    the ½ of independent neurons, so that a spread which does not fall is not made to. With x = 1/width the band is

      mean ± t √(Var(L̂ + ĉ x) + σ² width^{−2p} + (d b)²),

    t Student's quantile with widths·(seeds − 1) degrees of freedom. The last term is for what the law leaves out: d²
    is the coefficient of 1/n² that its residuals show beyond the noise, b what 1/n² adds to the forecast. Whether there
    is such a misfit at all is tested by the same residuals, the whole curve at once, against a bootstrap in which the
    law holds (Efron 1979).

    >>> import numpy as np
    >>> t, noise = np.linspace(0, 1, 10), np.random.default_rng(0).standard_normal((3, 4, 1))
    >>> widths = np.array([32.0, 64, 128])[:, None, None]
    >>> law = WidthLaw((32, 64, 128), np.exp(-t) + 3 * t / widths + 0.05 * noise / widths**0.5, 1024)
    >>> bool(law.covers(np.exp(-t) + 3 * t / 1024) == 1), law.fits
    (True, True)
    >>> bool((law.limit < law.mean)[1:].all())
    True

    Args:
        widths: At least three, increasing.
        losses: Of each, for at least two seeds, at some times.
        width: Of the run to be forecast; ``math.inf`` for the limit.
        level: How much of such runs is to be in the band, at each time.

    Raises:
        ValueError: For fewer widths or seeds, losses that are not finite, a width within the given ones.
    """

    widths: tuple[int, ...]
    losses: Float[np.ndarray, "widths seeds times"]
    width: int | float
    level: float = 0.9

    def __post_init__(self):
        check_widths("WidthLaw", self.widths, self.width)
        if self.losses.ndim != 3 or len(self.losses) != len(self.widths) or self.losses.shape[1] < 2:
            fail("WidthLaw(losses=...)", f"of shape ({len(self.widths)}, seeds ≥ 2, times)", self.losses.shape)
        if not np.isfinite(self.losses).all():
            bad = next(n for n, at in zip(self.widths, self.losses, strict=True) if not np.isfinite(at).all())
            fail("WidthLaw(losses=...)", "finite", f"a diverged run at width {bad}", "choose a smaller rate")
        if not 0 < self.level < 1:
            fail("WidthLaw(level=...)", "between 0 and 1", self.level)

    @cached_property
    def mean(self) -> Float[np.ndarray, " times"]:
        """The mean loss of runs at the width."""
        return self._coefficients[0] + self._coefficients[1] / self.width

    @property
    def limit(self) -> Float[np.ndarray, " times"]:
        """L(∞, t)."""
        return self._coefficients[0]

    @property
    def slope(self) -> Float[np.ndarray, " times"]:
        """c(t)."""
        return self._coefficients[1]

    @cached_property
    def spread_exponent(self) -> float:
        """p of the standard deviation over seeds ∝ n^{−p}, between 0 and ½."""
        variances = self.losses.var(1, ddof=1)
        scale = variances.mean(0)
        relative = (
            (variances[:, scale > 0] / scale[scale > 0]).mean(1) if (scale > 0).any() else np.ones(len(variances))
        )
        if not (relative > 0).all():
            return 0.5
        return float(np.clip(-np.polyfit(np.log(self.widths), np.log(relative), 1)[0] / 2, 0.0, 0.5))

    @cached_property
    def half_width(self) -> Float[np.ndarray, " times"]:
        """Half of the band at each time."""
        from scipy.special import stdtrit  # here, as its import takes long

        widths, seeds, _ = self.losses.shape
        at = np.array([1.0, 1.0 / self.width])
        of_mean = float(at @ np.linalg.solve(self._normal, at))
        of_run = self.width ** (-2 * self.spread_exponent) if self.spread_exponent else 1.0
        variance = self._noise * (of_mean + of_run) + self._curvature * self._unfitted(at) ** 2
        return float(stdtrit(widths * (seeds - 1), (1 + self.level) / 2)) * np.sqrt(variance)

    @property
    def low(self) -> Float[np.ndarray, " times"]:
        """The band's lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> Float[np.ndarray, " times"]:
        """The band's upper end."""
        return self.mean + self.half_width

    def covers(self, curve: Sequence[float] | np.ndarray) -> float:
        """The share of the times at which a curve is in the band."""
        return float(np.mean(np.abs(np.asarray(curve) - self.mean) <= self.half_width))

    @cached_property
    def misfit(self) -> float:
        """The probability of residuals at least as large as these, if the law holds; 1 for none at all."""
        widths, seeds, _ = self.losses.shape
        scale = np.array(self.widths, float)[:, None, None] ** self.spread_exponent
        pool = (self.losses - self.losses.mean(1, keepdims=True)) * scale * math.sqrt(seeds / (seeds - 1))
        pool = pool.reshape(widths * seeds, -1)
        drawn = np.random.default_rng(0).integers(len(pool), size=(DRAWS, widths, seeds))
        under_the_law = np.array([self._misfit(pool[draw] / scale) for draw in drawn])
        found = self._misfit(self.losses)
        # With the sample itself among the draws the probability is never 0 (Davison & Hinkley 1997, section 4.2).
        return float((1 + (under_the_law >= found).sum()) / (1 + DRAWS))

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against the law at these widths."""
        return self.misfit >= DOUBT

    def explain(self) -> str:
        """What is forecast of the end, and whether to believe it, in a line."""
        end = f"{self.mean[-1]:.4g} ± {self.half_width[-1]:.2g}"
        said = f"width {self.width:g} ends at {end} ({self.level:.0%} of runs), the limit at {self.limit[-1]:.4g}"
        if self.fits:
            return said
        narrow = ", ".join(map(str, self.widths))
        return (
            f"{said}; but the means at {narrow} do not follow L + c/n (p = {self.misfit:.3f}): the band is widened for "
            f"it, and wider networks than {self.widths[0]} would make it trustworthy"
        )

    @cached_property
    def _design(self) -> Float[np.ndarray, "widths 2"]:
        return np.stack([np.ones(len(self.widths)), 1 / np.array(self.widths, float)], 1)

    @cached_property
    def _weights(self) -> Float[np.ndarray, " widths"]:
        """The precision of the means at each width, in units of 1/σ²."""
        return self.losses.shape[1] * np.array(self.widths, float) ** (2 * self.spread_exponent)

    @cached_property
    def _normal(self) -> Float[np.ndarray, "2 2"]:
        return self._design.T @ (self._weights[:, None] * self._design)

    @cached_property
    def _fit(self) -> Float[np.ndarray, "2 widths"]:
        """From what is measured at the widths to L̂ and ĉ."""
        return np.linalg.solve(self._normal, self._design.T * self._weights)

    @cached_property
    def _coefficients(self) -> Float[np.ndarray, "2 times"]:
        return self._fit @ self.losses.mean(1)

    @cached_property
    def _noise(self) -> Float[np.ndarray, " times"]:
        """σ²(t)."""
        return self._noise_of(self.losses)

    def _noise_of(self, losses: np.ndarray) -> np.ndarray:
        scale = np.array(self.widths, float)[:, None] ** (2 * self.spread_exponent)
        return (losses.var(1, ddof=1) * scale).mean(0)

    def _residual_squares(self, losses: np.ndarray) -> np.ndarray:
        """Of the means at the widths from the law, weighted: at each time, widths − 2 times σ² if it holds."""
        means = losses.mean(1)
        return self._weights @ (means - self._design @ (self._fit @ means)) ** 2

    def _misfit(self, losses: np.ndarray) -> float:
        """Residuals of the means over the spread of seeds, both summed over times."""
        noise = float(self._noise_of(losses).sum())
        squares = float(self._residual_squares(losses).sum())
        # Without any noise what floating point leaves is no misfit.
        tiny = 1e-20 * float((losses**2).sum()) * float(self._weights.max())
        return 0.0 if squares <= tiny else squares / max(noise, tiny)

    @cached_property
    def _curvature(self) -> Float[np.ndarray, " times"]:
        """d²(t), over a fifth of the curve together."""
        squares = np.array(self.widths, float) ** -2.0
        left = squares - self._design @ (self._fit @ squares)
        beyond = self._residual_squares(self.losses) - (len(self.widths) - 2) * self._noise
        times = len(beyond)
        window = np.ones(max(1, times // 5) | 1)
        smooth = np.convolve(beyond, window, "same") / np.convolve(np.ones(times), window, "same")
        return np.maximum(smooth[:times], 0.0) / float(self._weights @ left**2)

    def _unfitted(self, at: np.ndarray) -> float:
        """What a term 1/n² of coefficient 1 adds to the forecast, fitted by the law, beyond its own value."""
        squares = np.array(self.widths, float) ** -2.0
        return float(at @ (self._fit @ squares) - at[1] ** 2)

    def plot(self, steps: int | None = None, runs: np.ndarray | None = None, title: str = "") -> Any:
        """The narrow curves, the band, and curves of the width if there are any: a figure of matplotlib.

        Args:
            steps: Of a run, over which the times are spread; None to number the times.
            runs: Curves of the width, (seeds, times).
            title: Of the panel.
        """
        from mupi.figures.forecast import plot_forecasts  # here, as matplotlib is an extra

        return plot_forecasts({title: self.panel(steps, runs)})

    def panel(self, steps: int | None = None, runs: np.ndarray | None = None) -> Any:
        """What `mupi.figures.forecast.plot_forecasts` draws.

        Args:
            steps: As in `plot`.
            runs: As in `plot`.
        """
        from mupi.figures.forecast import ForecastCurves

        times = len(self.mean)
        at = (np.arange(times) + 0.5) * ((steps or times) / times)
        wide = f"{self.width:g}" if math.isfinite(self.width) else "∞"
        return ForecastCurves(at, self.widths, self.losses, wide, self.mean, self.half_width, runs)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it; an infinite width is None."""
        return {
            "explanation": self.explain(),
            "widths": list(self.widths),
            "width": self.width if math.isfinite(self.width) else None,
            "level": self.level,
            "mean": self.mean.tolist(),
            "half_width": self.half_width.tolist(),
            "limit": self.limit.tolist(),
            "slope": self.slope.tolist(),
            "spread_exponent": self.spread_exponent,
            "misfit": self.misfit,
            "losses": self.losses.tolist(),
        }


def check_widths(call: str, widths: tuple[int, ...], width: int | float) -> None:
    """Refuse widths from which nothing can be extrapolated.

    Raises:
        ValueError: For fewer than three, ones that do not increase, or one to forecast that is not beyond them.
    """
    increasing = all(b > a for a, b in zip(widths, widths[1:], strict=False))
    if len(widths) < 3 or not increasing or widths[0] < 1:
        fail(f"{call}(widths=...)", "at least three widths, increasing", widths, "a misfit of two cannot be seen")
    if not width > widths[-1]:
        fail(f"{call}(width=...)", f"above the widest of those given, {widths[-1]}", width)
