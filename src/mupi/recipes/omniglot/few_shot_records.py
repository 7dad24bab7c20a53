"""What a few-shot run measures: accuracy over tasks, and the course of meta-training."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mupi.statistics import of_mean_of_many
from mupi.training.records import Record


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over random tasks.

    Attributes:
        mean: Mean accuracy over tasks, from 0 to 1.
        half_width: Of the 95 % confidence interval for the mean over all tasks, 1.96 standard errors.
        episodes: How many tasks.
    """

    mean: float
    half_width: float
    episodes: int

    @classmethod
    def of(cls, shares: Float[Tensor, " tasks"]) -> "Accuracy":
        """From the share of right answers in each task."""
        n = len(shares)
        return cls(float(shares.mean()), of_mean_of_many(float(shares.std()) if n > 1 else 0.0, n), n)

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} %"


@dataclass(frozen=True)
class Progress(Record):
    """Meta-training up to a validation.

    Attributes:
        batch: How many steps of meta-training were taken.
        train_loss: Mean over the steps since the last validation, of the query images.
        train_accuracy: The same of the accuracy, 0 to 1.
        validation_accuracy: On the validation classes.
        seconds: Seconds of training so far.
    """

    batch: int
    train_loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float
