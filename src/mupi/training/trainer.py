"""`Trainer`: a network, an optimizer and a loss, trained on data that are in memory."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mupi.checks import fail, positive_int
from mupi.distributed.alone import by_itself
from mupi.distributed.processes import Processes
from mupi.distributed.sharing import sharing
from mupi.training import settings
from mupi.training.augmentation import Augmentation
from mupi.training.damaged import understood
from mupi.training.epoch import EVALUATION_BATCH, evaluate, require_finite
from mupi.training.epoch_record import EpochRecord
from mupi.training.examples import Examples
from mupi.training.fitted_examples import check_examples, examples_to_fit, floating_parameter
from mupi.training.loop import train_epochs
from mupi.training.memory_use import stored_atoms
from mupi.training.modes import training_mode
from mupi.training.parts import check_generator, check_parts
from mupi.training.procedure import Loss, Procedure
from mupi.training.progress import epoch_progress
from mupi.training.random_state import random_state, set_random_state
from mupi.training.run_folder import RunFolder
from mupi.training.shared_run import shared_procedure
from mupi.training.state import Tally, TrainingState
from mupi.training.tensorboard_log import write_curves, writer

DIVERGED = "the checkpoint, if there is one, is from before; train anew with a lower learning rate or clip"

Callback = Callable[["Trainer", EpochRecord], object]


class Trainer:
    """Trains a network by an optimizer: any module, any loss, classes or numbers.

    Each epoch goes through the training examples once, in an order that ``generator`` draws; a step descends the mean
    of the loss over a batch, and the last batch of an epoch may be smaller. It is what a loop by hand does, bit for
    bit, and a run that was interrupted goes on as if it had not been.

    >>> import torch
    >>> from mupi import PiMLP, SGD
    >>> from mupi.training import Trainer
    >>> g = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(64, 5, generator=g), torch.arange(64) % 3
    >>> net = PiMLP(5, 3, 16, 2, generator=g)
    >>> trainer = Trainer(net, SGD(net.parameter_groups(lr=0.1)), batch_size=16, generator=g)
    >>> history = trainer.fit((x, y), epochs=2)
    >>> [record.epoch for record in history], history[1].train_loss < history[0].train_loss
    ([1, 2], True)

    Args:
        net: The network, on its device: one of mupi's, or any module.
        optimizer: Of its parameters, of all or some: `mupi.SGD` or any of torch's that takes them (atoms are moved by
            `mupi.SGD` only).
        loss: Of outputs and targets of a batch, the mean over its examples.
        batch_size: Examples a step.
        schedule: A schedule of the optimizer, stepped once after each epoch.
        augmentation: What is done to training images, drawn anew in each epoch.
        accumulate: In how many equal parts a batch goes through the network, one after the other, to save memory; the
            step is that of the whole batch to rounding, but where a layer depends on what is in a batch together (as
            `torch.nn.BatchNorm1d` does, or Hermite's directions when they are renewed in the midst of it).
        autocast: ``torch.bfloat16`` for mixed precision by `torch.autocast`. mupi's layers stay in their own dtype.
        generator: Draws the order of the examples and their augmentation; of the CPU. None for one whose seed
            torch's global generator draws.
        shared: Whether the processes of torch.distributed's default group take each step together, each on its rows of
            the batch: to rounding what one process does. All make the same calls with the same arguments and data,
            callbacks are called in each, and the first one writes and shows; the net's weights, and what draws the
            order, are those of the first. False for a network of its own in each process. Where there are several,
            one of the two has to be said.

    Attributes:
        net: The network, as it was given.
        optimizer: The optimiser, as it was given.
        history: The records of all finished epochs, those before a resumption included.

    Raises:
        ValueError: For an argument that is none of the above, and an optimizer of parameters that are not the net's.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        *,
        loss: Loss = cross_entropy,
        batch_size: int = 32,
        schedule: LRScheduler | None = None,
        augmentation: Augmentation | None = None,
        accumulate: int = 1,
        autocast: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        shared: bool | None = None,
    ):
        check_parts(net, optimizer, schedule, augmentation)
        if not callable(loss):
            fail("Trainer(loss=...)", "a function of outputs and targets", type(loss).__name__)
        batch_size = positive_int("Trainer(batch_size=...)", batch_size)
        if batch_size % positive_int("Trainer(accumulate=...)", accumulate):
            fail("Trainer(accumulate=...)", f"a divisor of the batch size {batch_size}", accumulate)
        if autocast not in (None, torch.bfloat16):
            fail(
                "Trainer(autocast=...)",
                "torch.bfloat16, or None",
                repr(autocast),
                "other dtypes need their loss scaled",
            )
        check_generator(generator)
        seed = None if generator is None else generator.initial_seed()
        if generator is None:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.net, self.optimizer = net, optimizer
        self.history: list[EpochRecord] = []
        self._state = TrainingState(net, optimizer, schedule, augmentation, generator, generator)
        # Steps are replayed only where it is known that they can be: a user's module or loss may look at values.
        ours = getattr(net, "replayable", False) is True and loss is cross_entropy
        replays = ours and accumulate == 1 and autocast is None
        self._procedure = Procedure(batch_size, loss, int(accumulate), autocast, True, replays, DIVERGED)
        self._directory: Path | None = None
        self._size = 0
        self._shared = shared
        self._settings = {
            "net": settings.of_network(net),
            "optimizer": settings.of_optimizer(optimizer),
            "loss": settings.plain(loss),
            "batch_size": batch_size,
            "schedule": None if schedule is None else [type(schedule).__name__, settings.plain(schedule.state_dict())],
            "augmentation": settings.plain(augmentation),
            "accumulate": int(accumulate),
            "autocast": settings.plain(autocast),
            "generator": seed,
        }

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        test: Any = None,
        directory: str | PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
        log: Any = None,
    ) -> list[EpochRecord]:
        """Train until ``epochs`` epochs are finished, those of earlier calls included.

        With a directory the run is kept there: ``config.json``, a line an epoch in ``metrics.jsonl``, and after each
        epoch and on an interruption ``checkpoint.pt``, with network, optimizer, schedule and generators (torch's global
        ones too, which dropout draws from, and which going on sets). A run that the directory holds goes on from its
        checkpoint, whatever the network's parameters are now, if it was made with the same settings and data; of
        functions only their names are compared. Without a directory all is in memory, and a further call goes on where
        the last one stopped.

        Ctrl-C and SIGTERM act between two steps. In a terminal a bar shows the progress.

        Args:
            data: (x, y) of tensors or NumPy arrays, x of any shape (n, ...); a ``TensorDataset`` of two tensors; or a
                `mupi.data.Dataset` with its test images. Integers y of shape (n,) are class labels, whose right answers
                are counted where the network has an output for each class; floats are numbers. They are moved to the
                network's device, arrays of floats into its dtype.
            epochs: How many are to be finished in all.
            test: The same, for the loss after each epoch, with layers in evaluation mode.
            directory: Where the run is kept; None for nowhere. The same in each call.
            callbacks: Each is called as ``callback(trainer, record)`` after each epoch, when its checkpoint is written;
                if one returns True no further epoch is begun (in this call: the next one goes on).
            log: A directory for TensorBoard, or a ``SummaryWriter``.

        Returns:
            `history`.

        Raises:
            ValueError: If data, or another argument, are none of the above; if targets are not what the loss and the
                network take (also where they would only broadcast); if the directory holds another run, or other files.
            FloatingPointError: If the loss is no longer finite; the step is not taken (mupi's own networks on CUDA: up
                to 50 may have been).
            KeyboardInterrupt: Once the process was told to stop, and the state is saved.
        """
        epochs = positive_int("fit(epochs=...)", epochs)
        if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
            fail("fit(callbacks=...)", "a list of functions", type(callbacks).__name__)
        if directory is not None and not isinstance(directory, str | PathLike):
            fail("fit(directory=...)", "a path, or None", type(directory).__name__)
        processes = sharing("Trainer(shared=...)", self._shared)
        train, tests = examples_to_fit(self.net, data, test, self._state.augmentation)
        path = None if directory is None else Path(directory)
        if self._begun and path != self._directory:
            fail("fit(directory=...)", f"{self._directory}, as in the first call", path, "make a new Trainer")
        if self._state.step and len(train.x) != self._size:
            fail("fit(data=...)", f"the {self._size} examples of the epoch in progress", len(train.x))
        with writer(log if processes.first else None) as opened, training_mode(self.net), ExitStack() as stack:
            if processes.together is None:
                stack.enter_context(by_itself())
            self._procedure = shared_procedure(processes, self._procedure, self._state, self._settings, train, tests)
            labels = check_examples(self.net, self._procedure, train, tests)
            run = None if path is None else settings.trainer_folder(path, self._settings, train, tests)
            if run is not None:
                processes.from_first(lambda: stack.enter_context(run.held()))
                self._open(run, processes)
            self._directory, self._size = path, len(train.x)
            self._train(train, tests, epochs, labels, run, callbacks, opened)
        return self.history

    @property
    def _begun(self) -> bool:
        """Whether there is something to go on from."""
        return (self._state.epoch, self._state.step) != (0, 0)

    def _train(
        self,
        train: Examples,
        tests: Examples | None,
        epochs: int,
        labels: bool,
        run: RunFolder[EpochRecord] | None,
        callbacks: Sequence[Callback],
        opened: Any,
    ) -> None:
        """`fit`, of arguments that are checked."""
        state, procedure = self._state, replace(self._procedure, labels=labels)
        processes = procedure.processes
        steps = -(-len(train.x) // procedure.batch_size)

        def test_of(examples: Examples, where: str) -> tuple[float, float]:
            with procedure.precision(examples.x.device):
                found = evaluate(self.net, examples.x, examples.y, procedure.loss, labels, processes)
            require_finite(found[0], where, DIVERGED)
            return found

        def few() -> Examples:
            return Examples(train.x[:EVALUATION_BATCH], train.y[:EVALUATION_BATCH])

        def measure() -> EpochRecord:
            # Without a test a few training examples tell whether the last step has ruined the network.
            test_loss, test_accuracy = test_of(tests or few(), f"a look at the network after epoch {state.epoch + 1}")
            return EpochRecord(
                epoch=state.epoch + 1,
                train_loss=state.tally.mean_loss,
                train_accuracy=state.tally.accuracy if labels else None,
                test_loss=None if tests is None else test_loss,
                test_accuracy=test_accuracy if labels and tests is not None else None,
                learning_rates=tuple(float(group["lr"]) for group in self.optimizer.param_groups),
                seconds=state.tally.seconds,
                atoms=int(processes.summed(torch.tensor(stored_atoms(self.net)))),
            )

        def finish(record: EpochRecord) -> bool:
            self.history.append(record)
            if run is not None:
                reached = self._checkpoint()
                processes.from_first(partial(run.append, record))
                processes.from_first(partial(run.save, reached))
            if opened is not None:
                write_curves(opened, record)
            # All of them, before one that stops.
            return processes.any(any([callback(self, record) is True for callback in callbacks]))

        def stop() -> NoReturn:
            where = f"in epoch {state.epoch + 1} after {state.step} steps"
            if run is None:
                raise KeyboardInterrupt(f"interrupted {where}; a further call of fit goes on from there")
            test_of(few(), f"epoch {state.epoch + 1}, step {state.step}")
            reached = self._checkpoint()
            try:
                if processes.first:
                    run.stop(reached, where, "fit goes on from there")
                raise KeyboardInterrupt(f"interrupted {where}")
            finally:
                processes.wait()  # torchrun ends all when one has ended

        with epoch_progress(
            epochs, type(self.net).__name__, None if processes.first else Console(quiet=True)
        ) as progress:

            def show(tally: Tally, taken: int) -> None:
                accuracy = tally.accuracy if labels else None
                progress.advance(taken, tally.mean_loss, accuracy, None, stored_atoms(self.net))

            train_epochs(
                state,
                epochs,
                train,
                procedure,
                begin=lambda: progress.begin(state.epoch + 1, state.step, steps),
                after_steps=show,
                measure=measure,
                finish=finish,
                stop=stop,
            )

    def _open(self, run: RunFolder[EpochRecord], processes: Processes) -> None:
        """Start a run, or go on with the one that is there."""

        def saved() -> dict[str, Any] | None:
            if not run.present:
                return None
            if not run.checkpoint_path.exists():
                raise FileNotFoundError(f"`{run.checkpoint_path}` is missing; {run.start_again}")
            return run.load()

        found = processes.from_first(saved)
        if found is None:
            start = self._checkpoint()
            processes.from_first(lambda: run.start(start))
            return
        with understood(run.checkpoint_path, run.start_again):
            self._state.load_state_dict(found)
            set_random_state(found["random"], self._device)
        self.history = processes.from_first(run.metrics)

    def _checkpoint(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return self._state.state_dict() | {"random": random_state(self._device)}

    @property
    def _device(self) -> torch.device:
        return floating_parameter(self.net).device
