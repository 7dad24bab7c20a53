"""Where a layer computes in the dtype of its weight, whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext

import torch


def own_precision(device: torch.device) -> AbstractContextManager:
    """A context without autocast; outside of autocast it costs nothing."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
