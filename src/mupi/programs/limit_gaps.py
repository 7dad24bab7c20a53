"""A program's averages at several widths beside its limit."""

from dataclasses import dataclass

import numpy as np

from mupi.statistics import exponent, weighted_exponent

SEEN = 5.0
"""Standard errors that a mean must be off the limit by, at the smallest width, for its approach to have a slope."""


@dataclass(frozen=True)
class Convergence:
    """A program's averages at several widths, and in the limit.

    Attributes:
        labels: Of each average; those of a table share one.
        limit: The limit of each average.
        limit_error: Root mean square of their standard errors.
        widths: The widths n.
        means: For each width the mean of each average over runs.
        mean_errors: Their standard errors, which have the limit's in them.
        gaps: For each width the root mean square over runs and averages of the distance to the limit.
        gap_errors: Their standard errors.
    """

    labels: tuple[str, ...]
    limit: tuple[float, ...]
    limit_error: float
    widths: tuple[int, ...]
    means: tuple[tuple[float, ...], ...]
    mean_errors: tuple[tuple[float, ...], ...]
    gaps: tuple[float, ...]
    gap_errors: tuple[float, ...]

    @property
    def slope(self) -> tuple[float, float]:
        """The exponent of the gap by width, by least squares, and its standard error.

        −1/2 where averages fluctuate by 1/√n, as those of n independent coordinates would.
        """
        return exponent(self.widths, self.gaps, np.divide(self.gap_errors, self.gaps))

    @property
    def z(self) -> np.ndarray:
        """For each width and average, the distance of its mean to the limit in standard errors."""
        return np.abs(np.subtract(self.means, self.limit)) / np.maximum(self.mean_errors, 1e-12)

    @property
    def mean_slope(self) -> tuple[float, float] | None:
        """The exponent of the distance between mean and limit, and its standard error; −1 for a bias of c/n + O(1/n²).

        Of the average that is farthest off at the smallest width, widths weighted by their precision; None where that
        is not clearly off the limit: either it has no bias at any width, or more runs are needed to see it.
        """
        average = int(self.z[0].argmax())
        z = self.z[:, average]
        if z[0] < SEEN:
            return None
        distances = np.abs(np.array(self.means)[:, average] - self.limit[average])
        return weighted_exponent(self.widths, distances, 1 / z)
