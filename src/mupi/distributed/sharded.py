"""Tensors that FSDP keeps in shards: read in whole, and written to."""

from typing import Any

import torch
from torch import Tensor


def unsharded(x: Tensor) -> Tensor:
    """The tensor of what is sharded (FSDP2), which all processes ask for; any other as it is."""
    full: Any = getattr(x, "full_tensor", None)
    return x if full is None else full()


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
