"""What a saved run has trained."""

from collections.abc import Sequence
from math import prod

import torch

from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_data, independent_generators
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.run import run_folder
from mupi.data import Dataset
from mupi.nets import Network
from mupi.training.damaged import understood


def restore(config: TrainConfig) -> tuple[Network, Dataset]:
    """The network of a saved run as its checkpoint has it, for evaluation, and the data it was trained on.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged, or of another configuration.
    """
    run = run_folder(config)
    saved = run.read(run.checkpoint_path)
    for_data, for_net = independent_generators(config.seed, 2)
    data = build_data(config, for_data)
    net = build_architecture(config, data, for_net)
    with understood(run.checkpoint_path):
        net.load_state_dict(saved["net"])
    return net.eval(), data


def restore_epoch(config: TrainConfig, epoch: int) -> tuple[Network, Dataset]:
    """The network of a saved run as it was kept after an epoch, and a description of its data, without the images.

    Args:
        config: Of the run, on any device.
        epoch: Counted from 1; 0 is the untrained network.

    Raises:
        FileNotFoundError: If the epoch was not kept.
        ValueError: If the file is damaged, or of another configuration.
    """
    run = run_folder(config)
    if not run.epoch_path(epoch).is_file():
        kept = ", ".join(map(str, run.kept_epochs())) or "none"
        raise FileNotFoundError(f"`{run.epoch_path(epoch)}` is missing; kept epochs: {kept} (train with --keep-epochs)")
    path = run.epoch_path(epoch)
    saved = run.read(path)
    _, for_net = independent_generators(config.seed, 2)
    with understood(path):
        description = without_images(config.dataset, saved["image_shape"], saved["classes"])
        net = build_architecture(config, description, for_net)
        net.load_state_dict(saved["net"])
    return net.eval(), description


def without_images(name: str, image_shape: Sequence[int], classes: Sequence[str]) -> Dataset:
    """A data set of no images, which tells a network's sizes."""
    channels, height, width = image_shape
    x, y = torch.empty(0, prod(image_shape)), torch.empty(0, dtype=torch.int64)
    return Dataset(name, x, y, x, y, (channels, height, width), tuple(classes))
