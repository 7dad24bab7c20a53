"""What a `Trainer` records of an epoch."""

from dataclasses import dataclass

from mupi.training.records import Record


@dataclass(frozen=True)
class EpochRecord(Record):
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
