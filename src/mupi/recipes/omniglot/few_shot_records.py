"""What a few-shot run measures: accuracy over tasks, and the course of meta-training."""

import json
from dataclasses import asdict, dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over random tasks.

    Attributes:
        mean: Over tasks, 0 to 1.
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
        half_width = 1.96 * float(shares.std()) / n**0.5 if n > 1 else float("inf")
        return cls(float(shares.mean()), half_width, n)

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} %"


@dataclass(frozen=True)
class Progress:
    """Meta-training up to a validation.

    Attributes:
        batch: Steps so far.
        train_loss: Mean over the steps since the last validation, of the query images.
        train_accuracy: The same of the accuracy, 0 to 1.
        validation_accuracy: On the validation classes.
        seconds: Of training so far.
    """

    batch: int
    train_loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Progress":
        """The inverse of `to_json`."""
        return cls(**json.loads(line))
