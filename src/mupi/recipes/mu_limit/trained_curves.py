"""What was trained beside the μ-limit, and how far it is from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mupi.statistics import PowerLaw

Curve = Mapping[str, Tensor]
"""By what it is: outputs (times, images), losses (times,), kernels (times, images, images)."""

CURVES = {"outputs", "tests", "kernels", "losses", "seconds", "peak_mb"}
"""Of every network; those of a limit have errors too."""

LIMIT_CURVES = CURVES | {"errors", "loss_errors", "ranks"}


def curves_of(found: dict[str, Any], *, of_a_limit: bool) -> dict[str, Tensor]:
    """The curves of a network as a file has them.

    Raises:
        TypeError: If they are none.
    """
    names = LIMIT_CURVES if of_a_limit else CURVES
    if found.keys() != names or not all(isinstance(values, Tensor) for values in found.values()):
        raise TypeError("no curves of a network")
    return found


@dataclass(frozen=True)
class Curves:
    """What was trained.

    Attributes:
        limit: In μP at width ∞, with standard errors.
        ntp: The curve of the NTK parametrization at width ∞.
        finite: In μP, by width, one for each seed.
        targets: ±1 for each image.
    """

    limit: Curve
    ntp: Curve
    finite: Mapping[int, Sequence[Curve]]
    targets: Float[Tensor, " images"]

    @property
    def gaps(self) -> dict[int, float]:
        """Root mean square over seeds, steps and images of f_t − limit, by width."""
        return {n: _rms([self._gap(seed) for seed in seeds]) for n, seeds in self.finite.items()}

    @property
    def limit_error(self) -> float:
        """Root mean square standard error of the limit's f_t."""
        return _rms([self.limit["errors"]])

    @property
    def law(self) -> PowerLaw:
        """Each seed's root mean square over steps and images of f_t − limit, by width."""
        sizes = tuple(tuple(_rms([self._gap(seed)]) for seed in seeds) for seeds in self.finite.values())
        return PowerLaw("|f − limit|", "outputs", tuple(self.finite), sizes, -0.5)

    def _gap(self, seed: Curve) -> Tensor:
        return seed["outputs"] - self.limit["outputs"]

    def mean_losses(self, width: int) -> Float[np.ndarray, " times"]:
        """The loss at each step, the mean over seeds."""
        return np.mean([seed["losses"].numpy() for seed in self.finite[width]], axis=0)

    def loss_deviations(self, width: int) -> Float[np.ndarray, " times"]:
        """Its standard deviation over seeds; 0 for one."""
        losses = [seed["losses"].numpy() for seed in self.finite[width]]
        return np.std(losses, axis=0, ddof=min(1, len(losses) - 1))


def _rms(values: Sequence[Tensor]) -> float:
    return float(np.sqrt(np.mean([float(v.square().mean()) for v in values])))
