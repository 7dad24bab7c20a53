"""What a saved run has trained."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch

from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_data, independent_generators
from mupi.commands.train.config import OWN, TrainConfig
from mupi.commands.train.own_data import known_meaning
from mupi.commands.train.run import run_folder
from mupi.data import Dataset
from mupi.data.own.meaning import Meaning
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
    path, saved = _kept(config, epoch)
    with understood(path):
        description = without_images(config.dataset, saved["image_shape"], saved["classes"])
    return _described(config, path, saved, description), description


def restore_with_meaning(config: TrainConfig, epoch: int | None = None) -> tuple[Network, Meaning, Dataset | None]:
    """The network of a saved run, and what its inputs and outputs mean; with its data, if these are no user's file.

    What a user's file meant is in the run itself: the file need not be there.

    Args:
        config: Of the run, on any device.
        epoch: Of those that were kept; None for the last.

    Raises:
        FileNotFoundError: If there is no checkpoint, or the epoch was not kept.
        ValueError: If it is damaged, or of another configuration.
    """
    if config.dataset != OWN:
        net, data = restore(config)
        return net if epoch is None else restore_epoch(config, epoch)[0], Meaning.of(data), data
    run = run_folder(config)
    path, saved = (run.checkpoint_path, run.read(run.checkpoint_path)) if epoch is None else _kept(config, epoch)
    with understood(path):
        meaning = known_meaning(saved)
        description = meaning.description
    return _described(config, path, saved, description), meaning, None


def _kept(config: TrainConfig, epoch: int) -> tuple[Path, dict[str, Any]]:
    """The file of an epoch, and what is in it."""
    run = run_folder(config)
    if not run.epoch_path(epoch).is_file():
        kept = ", ".join(map(str, run.kept_epochs())) or "none"
        raise FileNotFoundError(f"`{run.epoch_path(epoch)}` is missing; kept epochs: {kept} (train with --keep-epochs)")
    return run.epoch_path(epoch), run.read(run.epoch_path(epoch))


def _described(config: TrainConfig, path: Path, saved: dict[str, Any], description: Dataset) -> Network:
    """The network in a file, of the sizes that a description tells."""
    _, for_net = independent_generators(config.seed, 2)
    with understood(path):
        net = build_architecture(config, description, for_net)
        net.load_state_dict(saved["net"])
    return net.eval()


def without_images(name: str, image_shape: Sequence[int], classes: Sequence[str]) -> Dataset:
    """A data set of no images, which tells a network's sizes."""
    channels, height, width = image_shape
    x, y = torch.empty(0, prod(image_shape)), torch.empty(0, dtype=torch.int64)
    return Dataset(name, x, y, x, y, (channels, height, width), tuple(classes))
