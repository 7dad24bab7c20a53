"""What `torchrun` has started this process for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from mupi.distributed.processes import ALONE, Processes
from mupi.distributed.together import Together


def started_by_torchrun() -> int:
    """How many processes `torchrun` has started for what this one does; 1 where it has not."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def speaks() -> bool:
    """Whether this process is the one of a run that shows things."""
    return started_by_torchrun() == 1 or os.environ["RANK"] == "0"


def restarts() -> int:
    """How often `torchrun` has started this process anew, after one of the run ended (``--max-restarts``).

    It is counted by machine: one whose own processes were well may have started them anew uncounted.
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def lost(error: BaseException) -> bool:
    """Whether an error says that another process of the run has gone."""
    if not (dist.is_available() and isinstance(error, RuntimeError)):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "ncclRemoteError"))


@contextmanager
def launched(device: str) -> Iterator[Processes]:
    """Inside, the processes that `torchrun` has started are connected; without it there is this one alone.

    Args:
        device: The type of device that they compute on; of several of a machine each has one.
    """
    if started_by_torchrun() == 1:
        yield ALONE
        return
    if dist.is_initialized():
        yield Processes(Together(dist.group.WORLD))
        return
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "gloo" if torch.device(device).type == "cpu" else "cpu:gloo,cuda:nccl"
    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
        # On one machine torchrun keeps its store, with the addresses of processes that have ended.
        store, rank, size = next(rendezvous("env://"))
        store = PrefixStore(f"start {restarts()}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    try:
        yield Processes(Together(dist.group.WORLD))
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()
