"""Training mode of a network, for a while; for evaluation see `mupi.layers.evaluating`."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def training_mode(net: nn.Module) -> Iterator[None]:
    """Inside, a network is in training mode; layers that were put into another by themselves stay so."""
    if net.training:
        yield
        return
    net.train()
    try:
        yield
    finally:
        net.eval()
