"""What a run minimizes and measures: cross-entropy and accuracy of classes, squared error and R² of numbers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.data import Dataset
from mupi.data.targets import Numbers
from mupi.distributed.processes import Processes
from mupi.training.epoch import evaluate
from mupi.training.epoch_metrics import EpochMeasures, EpochMetrics, RegressionMetrics
from mupi.training.procedure import Loss
from mupi.training.state import Tally


class Objective(ABC):
    """What is minimized, and what is told of it."""

    loss: Loss
    """The mean over a batch."""
    labels: bool
    """Whether targets are classes, whose right answers are counted."""
    record: type[EpochMeasures]
    """What is written of an epoch."""

    @abstractmethod
    def test_loss(self, net: nn.Module, x: Tensor, y: Tensor, processes: Processes) -> float:
        """The mean over test examples."""

    @abstractmethod
    def measured(self, net: nn.Module, tally: Tally, data: Dataset, processes: Processes) -> dict[str, Any]:
        """The losses of an epoch, and what else the record has of them."""


class CrossEntropy(Objective):
    """Of classes.

    Args:
        label_smoothing: Of the labels, in training only.
    """

    labels, record = True, EpochMetrics

    def __init__(self, label_smoothing: float):
        self.loss = partial(cross_entropy, label_smoothing=label_smoothing)

    def test_loss(self, net: nn.Module, x: Tensor, y: Tensor, processes: Processes) -> float:
        """The mean of −log p(class)."""
        return evaluate(net, x, y, processes=processes)[0]

    def measured(self, net: nn.Module, tally: Tally, data: Dataset, processes: Processes) -> dict[str, Any]:
        """Losses and accuracies."""
        loss, accuracy = evaluate(net, data.test_x, data.test_y, processes=processes)
        return dict(train_loss=tally.mean_loss, train_accuracy=tally.accuracy, test_loss=loss, test_accuracy=accuracy)


def half_square(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean of ½ (f − y)², y in units of its spread."""
    return 0.5 * (outputs - y).square().mean()


@dataclass
class SquaredError(Objective):
    """Of numbers.

    Args:
        numbers: Their units.
    """

    numbers: Numbers
    loss = staticmethod(half_square)
    labels, record = False, RegressionMetrics

    def test_loss(self, net: nn.Module, x: Tensor, y: Tensor, processes: Processes) -> float:
        """The mean of `half_square`."""
        return evaluate(net, x, y, half_square, labels=False, processes=processes)[0]

    def measured(self, net: nn.Module, tally: Tally, data: Dataset, processes: Processes) -> dict[str, Any]:
        """Losses, R² and root mean squared error."""
        loss, y = self.test_loss(net, data.test_x, data.test_y, processes), data.test_y.double()
        variance = float((y - y.mean()).square().mean())
        train = float(data.train_y.double().var(correction=0))
        return dict(
            train_loss=tally.mean_loss,
            train_r2=1 - 2 * tally.mean_loss / train,
            test_loss=loss,
            # As scikit-learn has it, of test examples that are all the same: 1 if they are met, else 0.
            test_r2=1 - 2 * loss / variance if variance else float(loss == 0),
            test_rmse=self.numbers.std * sqrt(2 * loss),
        )


def objective_of(data: Dataset, label_smoothing: float = 0.0) -> Objective:
    """What is learned of a data set."""
    return CrossEntropy(label_smoothing) if data.numbers is None else SquaredError(data.numbers)
