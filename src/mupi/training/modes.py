"""Training and evaluation mode of a network, for a while."""

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


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Inside, all layers of a network are in evaluation mode; afterwards each is in its own again."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
