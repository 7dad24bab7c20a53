"""Tensors that FSDP keeps in shards: read in whole, and written to."""

from typing import Any

import torch
from torch import Tensor, nn

from mupi.checks import fail


def unsharded(x: Tensor) -> Tensor:
    """The tensor of what is sharded (FSDP2), which all processes ask for; any other as it is."""
    full: Any = getattr(x, "full_tensor", None)
    return x if full is None else full()


def first_parameter(module: nn.Module) -> Tensor:
    """One of a module's parameters, or a tensor in its place, which says where it is and in which dtype.

    Raises:
        ValueError: If a wrapper has put a flat one in their place.
    """
    found = next(module.parameters(), None)
    if found is None:
        fail(
            "FullyShardedDataParallel(use_orig_params=...)",
            "True around mupi's layers",
            "False, which takes their parameters away",
            "use torch.distributed.fsdp.fully_shard(net)",
        )
    return found


@torch.no_grad()
def overwrite(x: Tensor, values: Tensor) -> None:
    """Give a tensor other values, of which a sharded one takes its shard.

    Args:
        x: Sharded or not.
        values: All of them, the same in all processes.
    """
    mesh: Any = getattr(x, "device_mesh", None)
    if mesh is not None:
        from torch.distributed.tensor import distribute_tensor

        placements: Any = getattr(x, "placements", None)
        values = distribute_tensor(values, mesh, placements, src_data_rank=None)
    x.copy_(values)
