"""What was gained, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


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
        half = 1.96 * by_image.std(ddof=1) / len(by_image) ** 0.5 if len(by_image) > 1 else float("inf")
        return cls(float(differences.mean()), float(half), tuple(float(d) for d in differences.mean(1)))

    @property
    def over_seeds(self) -> float | None:
        """Half of the 95 % interval for other seeds, from Student's t; None for one seed."""
        seeds = len(self.by_seed)
        if seeds < 2:
            return None
        return float(stdtrit(seeds - 1, 0.975) * np.std(self.by_seed, ddof=1) / seeds**0.5)

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} ± {100 * self.over_images:.2f}"
