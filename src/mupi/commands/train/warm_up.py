"""Loading what a training run needs before it is timed and its memory measured."""

import torch

from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_optimizer
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import narrowed
from mupi.commands.train.objective import objective_of
from mupi.data import Dataset


def warm_up(config: TrainConfig, data: Dataset) -> None:
    """Take one step with a network of rank and width 1, and forget it.

    The first step of a process brings some 80 MB of torch's code into memory, more than a small network needs; no
    network should be charged for it.

    Args:
        config: The configuration of the run to come.
        data: The data set of the run to come.
    """
    smallest = narrowed(config.network, 1) | ({} if config.features is None else {"rank": 1})
    net = build_architecture(config.changed(**smallest), data, torch.Generator().manual_seed(0))
    optimizer = build_optimizer(config, net)
    objective_of(data).loss(net(data.train_x[:2]), data.train_y[:2]).backward()
    optimizer.step()
    net.error_report(data.test_x[:2])
