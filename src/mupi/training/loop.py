"""The loop over epochs, of every training run."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from mupi.training.epoch import train_epoch
from mupi.training.examples import Examples
from mupi.training.interrupt import interrupt_noted
from mupi.training.procedure import Procedure
from mupi.training.state import Tally, TrainingState

R = TypeVar("R")


def run_epochs(
    left: Callable[[], bool],
    take: Callable[[Callable[[], bool]], bool],
    *,
    measure: Callable[[], R],
    turn: Callable[[], None],
    finish: Callable[[R], bool | None],
    stop: Callable[[], NoReturn],
) -> None:
    """Take epochs, or what else is measured and saved together, as long as some are left.

    Ctrl-C and SIGTERM act between two steps.

    Args:
        left: Whether there is another.
        take: Takes the steps that are left of it, asks before each whether to stop there, and returns False if so.
        measure: Gives its record after its last step.
        turn: Goes on to the next epoch.
        finish: Told the record then, to keep it with a state that is at the next; returns True to end here.
        stop: Called in place of the next step when the process was told to stop; raises.
    """
    with interrupt_noted() as interrupted:
        while left():
            if not take(interrupted):
                stop()
            record = measure()
            turn()
            if finish(record):
                return


def train_epochs(
    state: TrainingState,
    epochs: int,
    examples: Examples,
    procedure: Procedure,
    *,
    begin: Callable[[], None],
    after_steps: Callable[[Tally, int], None],
    measure: Callable[[], R],
    finish: Callable[[R], bool | None],
    stop: Callable[[], NoReturn],
) -> None:
    """Train until so many epochs are finished, wherever the state is.

    Args:
        state: The state of training, which is changed in place.
        epochs: How many are to be finished in all.
        examples: The examples to train on.
        procedure: How steps are taken.
        begin: Called before the steps of an epoch.
        after_steps: See `train_epoch`.
        measure: See `run_epochs`; the state is still in the epoch.
        finish: See `run_epochs`.
        stop: See `run_epochs`.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """

    def take(interrupted: Callable[[], bool]) -> bool:
        begin()
        return train_epoch(state, examples, procedure, interrupted, after_steps)

    run_epochs(lambda: state.epoch < epochs, take, measure=measure, turn=state.finish_epoch, finish=finish, stop=stop)
