"""`mupi train`: train a network on a data set, from the data to the figures."""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, cast

import torch
from rich.console import Console
from torch import nn

from mupi.commands.machine import require_room, set_threads
from mupi.commands.train.activation_names import tell_of_kernel
from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_data, build_optimizer, independent_generators
from mupi.commands.train.column_importances import importances_figure
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.objective import Objective, objective_of
from mupi.commands.train.own_data import kept_with_net, read_own, refuse_if_changed, tell
from mupi.commands.train.plain_fields import run_fields
from mupi.commands.train.report import report_runs
from mupi.commands.train.run import run_folder
from mupi.commands.train.size import size
from mupi.commands.train.warm_up import warm_up
from mupi.compilers import fuse
from mupi.data import Dataset
from mupi.data.own.load import OwnData
from mupi.distributed import data_parallel, state_dict
from mupi.distributed.launched import launched, restarts
from mupi.distributed.processes import Processes
from mupi.features import Hermite
from mupi.nets import error_report
from mupi.parameters import AtomParameter, MatrixParameter
from mupi.training.augmentation import Augmentation
from mupi.training.damaged import understood
from mupi.training.epoch import EVALUATION_BATCH, require_finite
from mupi.training.epoch_metrics import EpochMeasures, EpochMetrics, RegressionMetrics
from mupi.training.examples import Examples
from mupi.training.loop import train_epochs
from mupi.training.memory_use import PeakMemory, stored_atoms, stored_bytes
from mupi.training.procedure import Procedure
from mupi.training.progress import epoch_progress
from mupi.training.run_folder import RunFolder
from mupi.training.schedule import DropAndAnneal
from mupi.training.state import Tally, TrainingState

# Few, since the allocator may keep what a report takes (every kept atom by every image) and it would then be counted
# as the training's. The errors are within some 10 % of those on all images.
ERROR_REPORT_IMAGES = 16
MB = 1e6


def train(config: TrainConfig) -> Sequence[EpochMeasures]:
    """`train_network` on any data, and write figures and the page that has them."""
    config.check()
    config, own = read_own(config)
    run = run_folder(config)
    with launched(config.device) as processes, ExitStack() as held:
        if processes.first:
            tell_of_kernel(config.network.activation)
        metrics = _train(config, run, own, processes, held)
        if processes.first:
            others = {} if own is None else importances_figure(config, own)
            report_runs({run.directory.name: metrics}, run.directory, run_fields(config), Console(), others)
    return metrics


def train_network(config: TrainConfig, title: str | None = None) -> list[EpochMetrics]:
    """Train as the configuration says, on a data set of classes; the results are in its ``directory``.

    The numbers depend on the configuration only, not on whether and where the run was interrupted and resumed.
    Runs that differ in nothing but the features start as the same function, as far as each can represent it, and
    see the same images in the same order.

    Processes that `torchrun` has started share each batch, and make of it what one does, to rounding; the first of them
    has the folder. A run that torchrun starts again goes on from its checkpoint.

    Args:
        config: What to train and how.
        title: Shown beside the progress bar, in place of a line for each epoch.

    Returns:
        The metrics of all epochs, those before a resumption included.

    Raises:
        ValueError: If the directory holds a run that is neither resumed nor overwritten or files that are no run's,
            another process writes into it, or the configuration asks for what cannot be.
        FloatingPointError: If the loss is no longer finite; the checkpoint is from when it was.
        KeyboardInterrupt: After Ctrl-C, once the state is saved.
    """
    config.check()
    run = run_folder(config)
    with launched(config.device) as processes, ExitStack() as held:
        return cast(list[EpochMetrics], _train(config, run, None, processes, held, title))


def _train(
    config: TrainConfig,
    run: RunFolder[Any],
    own: OwnData | None,
    processes: Processes,
    held: ExitStack,
    title: str | None = None,
) -> Sequence[EpochMeasures]:
    """`train_network` by the processes, of which the first one holds the folder and writes into it."""
    set_threads(config.threads)
    processes.check_batch("batch_size", config.batch_size)
    again = processes.any(restarts() > 0)

    def opened() -> dict[str, Any] | None:
        held.enter_context(run.held())
        goes_on = config.resume or (again and run.present and run.checkpoint_path.exists())
        if not (goes_on or config.overwrite):
            run.refuse_if_present()
        return run.load() if goes_on else None

    saved = processes.from_first(opened)
    if own is not None:
        if saved is not None:
            refuse_if_changed(config, own, saved)
        if processes.first:
            tell(own)
    beside = kept_with_net(own)

    for_data, for_net, for_order, for_views = independent_generators(config.seed, 4)
    data = build_data(config, for_data, own)
    objective = objective_of(data, config.label_smoothing)
    require_room(*size(config, data), config.device)
    warm_up(config, data)
    memory = PeakMemory(data.train_x.device)
    net = build_architecture(config, data, for_net)
    optimizer = build_optimizer(config, net)
    schedule = DropAndAnneal(optimizer, config.drop_epoch, config.drop, epochs=config.epochs, anneal=config.anneal)
    augmentation = Augmentation(config.flip, config.shift, data.image_shape)
    state = TrainingState(net, optimizer, schedule, augmentation, for_order, for_views)
    if config.precision == "bfloat16" and processes.first:
        tell_of_precision(net)
    if config.compile:
        fuse(net)
    wrapped = None if processes.together is None else data_parallel(net)
    if saved is None:
        start = state.state_dict() | beside
        processes.from_first(lambda: run.start(start))
    else:
        with understood(run.checkpoint_path):
            state.load_state_dict(saved)
    if (state.epoch, state.step) == (0, 0):
        keep(config, run, state, data, beside, processes)

    done: list[EpochMeasures] = []
    with epoch_progress(config.epochs, title, None if processes.first else Console(quiet=True)) as progress:

        def begin() -> None:
            progress.begin(state.epoch + 1, state.step, -(-len(data.train_x) // config.batch_size))
            memory.restart()

        def show(tally: Tally, steps: int) -> None:
            accuracy = tally.accuracy if objective.labels else None
            progress.advance(steps, tally.mean_loss, accuracy, memory.growth() / MB, stored_atoms(net))

        def finish(metrics: EpochMeasures) -> bool:
            done.append(metrics)
            processes.from_first(lambda: run.append(metrics))
            # Before the checkpoint: an epoch that the checkpoint has is then never without its network.
            keep(config, run, state, data, beside, processes)
            reached = state.state_dict() | beside
            processes.from_first(lambda: run.save(reached))
            progress.finish(metrics.epoch, line(metrics))
            return False

        train_epochs(
            state,
            config.epochs,
            Examples(data.train_x, data.train_y),
            Procedure(
                config.batch_size,
                objective.loss,
                labels=objective.labels,
                processes=processes,
                run=wrapped,
                autocast=torch.bfloat16 if config.precision == "bfloat16" else None,
                replays=not config.compile,
            ),
            begin=begin,
            after_steps=show,
            measure=lambda: measure(config, state, data, memory, objective, processes),
            finish=finish,
            stop=lambda: stop(run, state, data, objective, beside, processes),
        )
    return run.metrics() if processes.first else done


def tell_of_precision(net: nn.Module) -> None:
    """Print which layers bfloat16 changes nothing of; see `mupi.factor_gradients` and `mupi.Atoms`."""
    owners = {"atoms": AtomParameter, "gradients kept as factors": MatrixParameter}
    for which, kind in owners.items():
        names = [name for name, parameter in net.named_parameters() if isinstance(parameter, kind)]
        layers = [re.sub(r"(\.weight)?\.(weight|atoms)$", "", name) for name in names]
        if layers:
            print(f"mupi: --precision bfloat16 leaves {which} in float32: {', '.join(layers)}", file=sys.stderr)


def line(m: EpochMeasures) -> str:
    """What is printed of an epoch."""
    seconds, mb = (f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in (m.seconds, m.stored_mb))
    atoms = str(m.atoms) if m.atoms < 10_000 else f"{m.atoms / 1000:.0f}k"
    train, test = scores(m)
    return f"train {m.train_loss:.4f} {train}  test {m.test_loss:.4f} {test}  {seconds} s {mb} MB" + (
        f" {atoms} atoms" if m.atoms else ""
    )


def scores(m: EpochMeasures) -> tuple[str, str]:
    """How good an epoch is in training and in the test."""
    if isinstance(m, EpochMetrics):
        return f"{m.train_accuracy:.2%}", f"{m.test_accuracy:.2%}"
    assert isinstance(m, RegressionMetrics)
    return f"R² {m.train_r2:.3f}", f"R² {m.test_r2:.3f}"


def result(m: EpochMeasures) -> str:
    """What a run has come to."""
    if isinstance(m, RegressionMetrics):
        return f"test R² {m.test_r2:.4f}, root mean squared error {m.test_rmse:.4g}"
    assert isinstance(m, EpochMetrics)
    return f"test accuracy {m.test_accuracy:.2%}"


def measure(
    config: TrainConfig,
    state: TrainingState,
    data: Dataset,
    memory: PeakMemory,
    objective: Objective,
    processes: Processes,
) -> EpochMeasures:
    """The metrics of an epoch, after its last step.

    Raises:
        FloatingPointError: If the loss on the test images is not finite.
    """
    net = state.net
    measured = objective.measured(net, state.tally, data, processes)
    require_finite(measured["test_loss"], f"the test after epoch {state.epoch + 1}")
    peak = memory.growth()
    errors = []
    # The other feature maps have no error, which would take long to find out with many atoms.
    if isinstance(config.features, Hermite):
        errors = error_report(net, data.test_x[:ERROR_REPORT_IMAGES])
    return objective.record(
        epoch=state.epoch + 1,
        **measured,
        seconds=state.tally.seconds,
        stored_mb=processes.largest(stored_bytes(net)) / MB,
        peak_mb=processes.largest(peak) / MB,
        atoms=int(processes.summed(torch.tensor(stored_atoms(net)))),
        parameters=sum(p.numel() for p in net.parameters()),
        layer_errors=tuple(errors),
    )


def keep(
    config: TrainConfig,
    run: RunFolder[Any],
    state: TrainingState,
    data: Dataset,
    beside: Mapping[str, Any],
    processes: Processes,
) -> None:
    """Keep the network as it is, if the configuration asks for it."""
    if config.keep_epochs:
        made_for = {"image_shape": list(data.image_shape), "classes": list(data.classes)}
        net = state_dict(state.net)
        processes.from_first(lambda: run.keep(state.epoch, {"net": net, **made_for, **beside}))


def stop(
    run: RunFolder[Any],
    state: TrainingState,
    data: Dataset,
    objective: Objective,
    beside: Mapping[str, Any],
    processes: Processes,
) -> NoReturn:
    """Save the state between two steps, unless the last of them has ruined it.

    Raises:
        FloatingPointError: If the loss is not finite.
        KeyboardInterrupt: Once the state is saved.
    """
    epoch, few = state.epoch + 1, slice(EVALUATION_BATCH)
    loss = objective.test_loss(state.net, data.test_x[few], data.test_y[few], processes)
    require_finite(loss, f"epoch {epoch}, step {state.step}")
    reached = {**state.state_dict(), **beside}
    try:
        if processes.first:
            run.stop(reached, f"in epoch {epoch} after {state.step} steps")
        raise KeyboardInterrupt
    finally:
        processes.wait()  # torchrun ends all when one has ended
