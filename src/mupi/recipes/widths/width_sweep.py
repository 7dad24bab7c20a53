"""Networks of one kind and many widths on their way to a limit."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mupi.statistics import PowerLaw

PREDICTED = -0.5


@dataclass(frozen=True)
class WidthSweep:
    """Networks of one kind and many widths, trained on the same batches.

    Attributes:
        name: The kind of the networks.
        quantity: What ``gaps`` are.
        widths: The widths n.
        losses: The loss of each step, for each width and seed.
        gaps: Root mean square distance of f from its limit, for each width and seed, before the first step and after
            each; or one standard deviation of f over the seeds for each width.
        limit: The loss of each step of the limit, if it is known.
    """

    name: str
    quantity: str
    widths: tuple[int, ...]
    losses: list[list[list[float]]]
    gaps: list[list[list[float]]]
    limit: list[float] | None = None

    @cached_property
    def laws(self) -> list[PowerLaw]:
        """A power law in width for the start and for each step."""
        return [
            self._law([[gaps[step] for gaps in seeds] for seeds in self.gaps]) for step in range(len(self.gaps[0][0]))
        ]

    @cached_property
    def overall(self) -> PowerLaw:
        """The same for the root mean square over all steps."""
        return self._law([[float(np.sqrt(np.mean(np.square(gaps)))) for gaps in seeds] for seeds in self.gaps])

    def _law(self, sizes: list[list[float]]) -> PowerLaw:
        return PowerLaw(self.quantity, self.name, self.widths, tuple(tuple(seeds) for seeds in sizes), PREDICTED)

    def to_json(self) -> dict[str, Any]:
        """Everything, with the fitted slopes."""
        return {
            "name": self.name,
            "quantity": self.quantity,
            "widths": list(self.widths),
            "losses": self.losses,
            "gaps": self.gaps,
            "limit": self.limit,
            "overall": self.overall.to_json(),
            "slopes": [law.slope for law in self.laws],
            "half_widths": [law.half_width for law in self.laws],
        }
