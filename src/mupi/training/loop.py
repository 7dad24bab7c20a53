"""The loop over epochs, of every training run."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from mupi.training.epoch import train_epoch
from mupi.training.examples import Examples
from mupi.training.interrupt import interrupt_noted
from mupi.training.procedure import Procedure
from mupi.training.state import Tally, TrainingState

R = TypeVar("R")


def train_epochs(
    state: TrainingState,
    epochs: int,
    examples: Examples,
    procedure: Procedure,
    *,
    begin: Callable[[], None],
    after_steps: Callable[[Tally, int], None],
    measure: Callable[[], R],
    finish: Callable[[R], bool],
    stop: Callable[[], NoReturn],
) -> None:
    """Train until so many epochs are finished, wherever the state is.

    Args:
        state: Is changed.
        epochs: How many are to be finished in all.
        examples: To train on.
        procedure: How steps are taken.
        begin: Called before the steps of an epoch.
        after_steps: See `train_epoch`.
        measure: Gives the record of an epoch after its last step, while the state is still in it.
        finish: Told each record once the state is at the next epoch, to keep both; whether to train no more.
        stop: Called in place of the next step when the process was told to stop; raises.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """
    with interrupt_noted() as interrupted:
        while state.epoch < epochs:
            begin()
            if not train_epoch(state, examples, procedure, interrupted, after_steps):
                stop()
            record = measure()
            state.finish_epoch()
            if finish(record):
                return
