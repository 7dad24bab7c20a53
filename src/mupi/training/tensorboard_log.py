"""TensorBoard: the numbers of each epoch, by torch's own writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from mupi.checks import fail
from mupi.extras import require
from mupi.training.epoch_record import EpochRecord


@contextmanager
def writer(log: Any) -> Iterator[Any]:
    """The writer of a run's curves; None for None.

    Args:
        log: A directory, in which a writer is opened and closed, or a ``torch.utils.tensorboard.SummaryWriter``, which
            stays open.

    Raises:
        ValueError: If it is neither.
        MissingExtraError: If it is a directory and TensorBoard is not installed.
    """
    if not isinstance(log, str | PathLike):
        if log is not None and not hasattr(log, "add_scalar"):
            fail("fit(log=...)", "a directory or a SummaryWriter", type(log).__name__)
        yield log
        return
    require("tensorboard", "`fit(log=...)`")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(log)) as opened:
        yield opened


def write_curves(opened: Any, record: EpochRecord) -> None:
    """Add the numbers of an epoch; those of a test to the same charts as those of the training."""
    rates = {f"learning_rate/{i}": rate for i, rate in enumerate(record.learning_rates)}
    numbers = {
        "loss/train": record.train_loss,
        "loss/test": record.test_loss,
        "accuracy/train": record.train_accuracy,
        "accuracy/test": record.test_accuracy,
    }
    for name, value in (numbers | rates).items():
        if value is not None:
            opened.add_scalar(name, value, record.epoch)
    opened.flush()
