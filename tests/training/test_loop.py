"""The loop that every training run goes through: what is called when, and where it can be stopped."""

import os
import signal
from typing import NoReturn

import pytest

from mupi.training.loop import run_epochs


class Run:
    """Three epochs of two steps, which notes what happens to it."""

    def __init__(self, stop_after: int | None = None):
        self.epoch, self.steps, self.seen, self.stop_after = 0, 0, [], stop_after

    def take(self, interrupted) -> bool:
        while self.steps < 2:
            if interrupted():
                return False
            self.steps += 1
            self.seen.append(f"step {self.epoch}.{self.steps}")
            if len(self.seen) == self.stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
        return True

    def turn(self) -> None:
        self.epoch, self.steps = self.epoch + 1, 0

    def stop(self) -> NoReturn:
        self.seen.append("stop")
        raise KeyboardInterrupt

    def go(self, epochs: int = 3, finish=lambda record: None) -> None:
        run_epochs(
            lambda: self.epoch < epochs,
            self.take,
            measure=lambda: (self.epoch, self.steps),
            turn=self.turn,
            finish=lambda record: self.seen.append(record) or finish(record),
            stop=self.stop,
        )


def test_an_epoch_is_measured_while_the_state_is_in_it_and_kept_when_it_is_at_the_next():
    run = Run()
    run.go(epochs=2)
    assert run.seen == ["step 0.1", "step 0.2", (0, 2), "step 1.1", "step 1.2", (1, 2)]
    run.go(epochs=2)
    assert len(run.seen) == 6, "none is left"


def test_what_keeps_a_record_may_end_the_run_between_two_epochs():
    run = Run()
    run.go(finish=lambda record: record == (0, 2))
    assert (run.epoch, run.steps) == (1, 0)


def test_a_signal_acts_between_two_steps_and_a_further_call_goes_on():
    run = Run(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        run.go(epochs=1)
    assert run.seen == ["step 0.1", "stop"]
    run.go(epochs=1)
    assert run.seen == ["step 0.1", "stop", "step 0.2", (0, 2)]
