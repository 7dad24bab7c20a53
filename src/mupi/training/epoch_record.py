"""What a `Trainer` records of an epoch."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EpochRecord:
    """Measurements of one epoch; a line of ``metrics.jsonl``.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean over the epoch's examples, each at the step that it was trained on.
        train_accuracy: The same of the share of right answers, 0 to 1; None if targets are no class labels.
        test_loss: Mean over the test examples after the epoch; None without them.
        test_accuracy: The same of the share of right answers.
        learning_rates: Of each group of the optimizer, in the epoch.
        seconds: Of training, without evaluation and saving.
        atoms: How many atoms are stored; 0 for features of constant memory.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    learning_rates: tuple[float, ...]
    seconds: float
    atoms: int

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "EpochRecord":
        """The inverse of `to_json`."""
        fields = json.loads(line)
        return cls(**{**fields, "learning_rates": tuple(fields["learning_rates"])})
