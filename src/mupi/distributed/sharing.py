"""Which processes do together what all of them call."""

import torch.distributed as dist

from mupi.checks import fail
from mupi.distributed.launched import started_by_torchrun
from mupi.distributed.processes import ALONE, Processes
from mupi.distributed.together import Together
from mupi.torch_internals import in_process_group


def sharing(argument: str, shared: bool | None) -> Processes:
    """Those of torch.distributed's default group, or this process alone.

    Args:
        argument: What errors call the next one.
        shared: Whether all do one thing together, or each one of its own; None where there is one process only.

    Raises:
        ValueError: If there are several and it is None; if there is no group to share in.
    """
    if shared not in (None, False, True):
        fail(argument, "True or False", repr(shared))
    if shared is None and several():
        must = "True (one by all processes) or False (one of its own in each) where there are several"
        fail(argument, must, "None, in several processes")
    if not shared:
        return ALONE
    if not in_process_group():
        fail(argument, "False in one process", "no process group", "call torch.distributed.init_process_group first")
    together = Together(dist.group.WORLD)
    return Processes(together) if together.size > 1 else ALONE


def several() -> bool:
    """Whether this process has been started, or connected, as one of several."""
    return (dist.get_world_size() if in_process_group() else started_by_torchrun()) > 1
