"""What networks and kernels come to: one model trained once, and one over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mupi.training.epoch_metrics import EpochMetrics


@dataclass(frozen=True)
class Result:
    """One model, trained once.

    Attributes:
        model: The model's name.
        seed: None for what no seed changes.
        accuracy: On the test images, 0 to 1.
        seconds: To train it, of a kernel to fit and to predict; evaluation of networks is not counted.
        peak_mb: MB (10⁶ bytes) by which the process's memory at its peak was above that before.
        size: How many of ``unit`` describe what was learned.
        unit: ``parameters``, ``atoms`` or ``images``.
        epochs: Of a network's training.
    """

    model: str
    seed: int | None
    accuracy: float
    seconds: float
    peak_mb: float
    size: int
    unit: str
    epochs: tuple[EpochMetrics, ...] = ()

    @property
    def best(self) -> float | None:
        """The accuracy of the best epoch, chosen with the test images; None for what has no epochs."""
        return max((m.test_accuracy for m in self.epochs), default=None)


@dataclass(frozen=True)
class Summary:
    """One model over its seeds.

    Attributes:
        model: The model's name.
        results: The results of the model, one for each seed.
    """

    model: str
    results: tuple[Result, ...]

    @property
    def accuracy(self) -> float:
        """Mean test accuracy."""
        return fmean(r.accuracy for r in self.results)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the accuracy over seeds; None for one."""
        return stdev(r.accuracy for r in self.results) if len(self.results) > 1 else None

    @property
    def best(self) -> float | None:
        """Mean of the accuracies of the best epochs, chosen with the test images; None for kernels."""
        found = [r.best for r in self.results if r.best is not None]
        return fmean(found) if found else None

    @property
    def seconds(self) -> float:
        """Mean of the times."""
        return fmean(r.seconds for r in self.results)

    @property
    def peak_mb(self) -> float:
        """Mean of the peaks."""
        return fmean(r.peak_mb for r in self.results)

    def layer_errors(self) -> dict[str, tuple[float, float]]:
        """Errors of output and input gradient of each layer after the last epoch, mean over seeds."""
        if not self.results[0].epochs:
            return {}
        last = [r.epochs[-1].layer_errors for r in self.results]
        return {
            errors[0].layer: (fmean(e.output for e in errors), fmean(e.gradient for e in errors))
            for errors in zip(*last, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Means, as JSON has them."""
        return {
            "model": self.model,
            "seeds": [r.seed for r in self.results],
            "accuracy": self.accuracy,
            "deviation": self.deviation,
            "best_epoch": self.best,
            "seconds": self.seconds,
            "peak_mb": self.peak_mb,
            "size": self.results[0].size,
            "unit": self.results[0].unit,
            "layer_errors": self.layer_errors(),
        }


def summarize(results: Sequence[Result]) -> list[Summary]:
    """The results of each model together, in the order in which models first appear."""
    models = dict.fromkeys(r.model for r in results)
    return [Summary(model, tuple(r for r in results if r.model == model)) for model in models]
