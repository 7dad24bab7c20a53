"""What `mupi train` records of each epoch: one line of its ``metrics.jsonl``."""

from dataclasses import dataclass

from mupi.layers import LayerError
from mupi.training.records import Record


@dataclass(frozen=True)
class EpochMetrics(Record):
    """Measurements of one epoch.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean over the epoch's images, each at the step that it was trained on.
        train_accuracy: The same of the share of right answers, 0 to 1.
        test_loss: Mean over the test images after the epoch.
        test_accuracy: Share of right answers on the test examples.
        seconds: Of training, without evaluation and saving.
        stored_mb: MB (10⁶ bytes) of the network's parameters, buffers and atoms.
        peak_mb: MB by which the process's memory, at its peak in training and evaluation, was above that before the
            network was built (on an accelerator: the allocated memory).
        atoms: How many atoms are stored.
        parameters: How many numbers are trained, apart from atoms.
        layer_errors: Errors of the feature map against the exact kernel, for features that have them.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    stored_mb: float
    peak_mb: float
    atoms: int
    parameters: int = 0
    layer_errors: tuple[LayerError, ...] = ()
