"""What processes have to agree on before they train one network together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mupi.checks import fail
from mupi.distributed import JointModule, data_parallel
from mupi.distributed.processes import Processes
from mupi.torch_internals import BATCH_NORMS, DROPOUTS
from mupi.training import settings
from mupi.training.examples import Examples
from mupi.training.procedure import Procedure
from mupi.training.state import TrainingState

ITSELF = "Trainer(net=...)"


def shared_procedure(
    processes: Processes,
    procedure: Procedure,
    state: TrainingState,
    known: Mapping[str, Any],
    train: Examples,
    tests: Examples | None,
) -> Procedure:
    """How these processes take the steps of a run, of which the network is told the first time.

    Args:
        processes: All that share the run, or one alone.
        procedure: How one takes them; or what this function has given for an earlier call of `Trainer.fit`.
        state: Of training; what draws the order becomes that of the first process.
        known: What decides the run, as JSON has it.
        train: Training examples.
        tests: Test examples.

    Raises:
        ValueError: If the network cannot be trained so, or processes have come with other arguments or data.
    """
    begun = procedure.processes.together is not None
    if not begun:
        _refuse_if_shared(state.net)
    if processes.together is None:
        return procedure
    data = {"data": settings.of_examples(train), "test": settings.of_examples(tests)}
    processes.check_same({settings.argument(name): value for name, value in {**known, **data}.items()})
    if begun:
        return procedure
    processes.check_batch("Trainer(batch_size=..., accumulate=...)", procedure.batch_size // procedure.accumulate)
    _check_rows_are_apart(state.net, state.optimizer)
    state.at_start = processes.from_first(lambda: state.at_start)
    return replace(procedure, processes=processes, run=data_parallel(state.net))


def _refuse_if_shared(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, DistributedDataParallel) or (isinstance(module, JointModule) and module.joined):
            hint = "Trainer(shared=True) joins it, and a further call of its fit goes on"
            fail(ITSELF, "the network itself", "one that several processes train already", hint)


def _check_rows_are_apart(net: nn.Module, optimizer: Optimizer) -> None:
    """Refuse what is not that of one process: a state of others, layers to which it matters who has which row."""
    if optimizer.state:
        fail("Trainer(optimizer=...)", "new where processes share a run", "one that has taken steps")
    for module in net.modules():
        if isinstance(module, BATCH_NORMS) and not isinstance(module, nn.SyncBatchNorm):
            hint = "use LayerNorm, or, on an accelerator, torch.nn.SyncBatchNorm.convert_sync_batchnorm"
            fail(ITSELF, "of layers that see all rows of a batch", type(module).__name__, hint)
        if isinstance(module, DROPOUTS) and module.p > 0 and module.training:
            hint = "leave it out, or write the loop with mupi.distributed.data_parallel(net)"
            fail(ITSELF, "of layers that draw nothing where processes share a run", type(module).__name__, hint)
