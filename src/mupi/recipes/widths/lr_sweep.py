"""Losses over learning rates and widths, and the best learning rate of each width."""

import math
from dataclasses import dataclass

import numpy as np

from mupi.statistics import leave_one_out


@dataclass(frozen=True)
class LrSweep:
    """Losses of one parametrization.

    Attributes:
        widths: The widths n.
        lrs: The learning rates, increasing by a constant factor.
        losses: For each width and learning rate, one loss for each seed; infinite where training diverged.
    """

    widths: tuple[int, ...]
    lrs: tuple[float, ...]
    losses: tuple[tuple[tuple[float, ...], ...], ...]

    def mean(self, i: int) -> list[float]:
        """Mean loss over seeds at each learning rate, for the i-th width; infinite if a seed diverged."""
        return [float(np.mean(seeds)) for seeds in self.losses[i]]

    def best_lr(self, i: int) -> float:
        """The learning rate of least mean loss at the i-th width.

        Between the grid's values where both neighbours have a loss: the vertex of the parabola through the three, in
        the logarithms.
        """
        mean = self.mean(i)
        k = int(np.argmin(mean))
        offset = 0.0
        if 0 < k < len(mean) - 1 and math.isfinite(mean[k - 1]) and math.isfinite(mean[k + 1]):
            left, middle, right = (math.log(mean[j]) for j in (k - 1, k, k + 1))
            bend = left - 2 * middle + right
            offset = 0.5 * (left - right) / bend if bend > 0 else 0.0
        return self.lrs[k] * (self.lrs[1] / self.lrs[0]) ** offset

    @property
    def drift(self) -> float:
        """The exponent e of best learning rate ∝ n^e, by least squares; 0 if the best learning rate transfers."""
        x = np.log(self.widths)
        y = np.log([self.best_lr(i) for i in range(len(self.widths))])
        return float(np.polyfit(x, y, 1)[0])

    @property
    def drift_half_width(self) -> float:
        """Half the 95 % interval of `drift`, by leaving out each seed at all widths; NaN for one seed."""

        def drift(seeds: list[int]) -> float:
            losses = tuple(tuple(tuple(at[i] for i in seeds) for at in width) for width in self.losses)
            return LrSweep(self.widths, self.lrs, losses).drift

        return leave_one_out(drift, range(len(self.losses[0][0])))
