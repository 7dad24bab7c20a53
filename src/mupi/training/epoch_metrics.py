"""What `mupi train` records of each epoch: one line of its ``metrics.jsonl``."""

from dataclasses import dataclass

from mupi.layers import LayerError
from mupi.training.records import Record


@dataclass(frozen=True, kw_only=True)
class EpochMeasures(Record):
    """Measurements of one epoch, whatever is learned.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean over the epoch's images, each at the step that it was trained on.
        test_loss: Mean over the test images after the epoch.
        seconds: Of training, without evaluation and saving.
        stored_mb: MB (10⁶ bytes) of the network's parameters, buffers and atoms; of several processes in that with the
            most, as is the peak.
        peak_mb: MB by which the process's memory, at its peak in training and evaluation, was above that before the
            network was built (on an accelerator: the allocated memory).
        atoms: How many atoms are stored.
        parameters: How many numbers are trained, apart from atoms.
        layer_errors: Errors of the feature map against the exact kernel, for features that have them.
    """

    epoch: int
    train_loss: float
    test_loss: float
    seconds: float
    stored_mb: float
    peak_mb: float
    atoms: int
    parameters: int = 0
    layer_errors: tuple[LayerError, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EpochMetrics(EpochMeasures):
    """Measurements of one epoch, of classes.

    Attributes:
        train_accuracy: Share of right answers, 0 to 1, on each image at the step that it was trained on.
        test_accuracy: Share of right answers on the test examples.
    """

    train_accuracy: float
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class RegressionMetrics(EpochMeasures):
    """Measurements of one epoch, of numbers; losses are half the squared error in units of the variance of training.

    Attributes:
        train_r2: 1 − squared error/variance, on each example at the step that it was trained on.
        test_r2: The same on the test examples, by their own variance.
        test_rmse: Root of the mean squared error on them, in the units of the numbers.
    """

    train_r2: float
    test_r2: float
    test_rmse: float
