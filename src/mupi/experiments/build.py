"""The parts of a training run, made as its configuration says."""

import torch

from mupi.checks import fail
from mupi.data import Dataset, load
from mupi.experiments.config import ACTIVATIONS, TrainConfig
from mupi.nets import PiMLP
from mupi.optim import SGD


def independent_generators(seed: int, n: int) -> list[torch.Generator]:
    """Generators with unrelated numbers: drawing more from one changes nothing for the others."""
    root = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (n,), generator=root)
    return [torch.Generator().manual_seed(int(s)) for s in seeds]


def build_data(config: TrainConfig, generator: torch.Generator) -> Dataset:
    """The data set, or the part of it that is asked for, on the device.

    Raises:
        ValueError: If torch has no such device, or the data set not as many images.
    """
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        fail("device", "one that torch has here, such as cpu", f"{config.device!r} ({str(error).splitlines()[0]})")
    data = load(config.dataset, config.data_dir)
    if config.validation is not None:
        data = data.split_validation(config.validation, generator)
    if config.train_size is not None:
        data = data.take(config.train_size, generator)
    return data.to(config.device)


def build_network(config: TrainConfig, data: Dataset, generator: torch.Generator) -> PiMLP:
    """The network before training."""
    return PiMLP(
        data.train_x.shape[1],
        len(data.classes),
        rank=config.rank,
        depth=config.depth,
        features=config.feature_map,
        activation=ACTIVATIONS[config.activation],
        input_scale=config.input_scale,
        output_scale=config.output_scale,
        bias_scale=config.bias_scale,
        readout_std=config.readout_init / config.rank,
        generator=generator,
        device=config.device,
    )


def build_optimizer(config: TrainConfig, net: PiMLP) -> SGD:
    """SGD with a learning rate for each kind of layer."""
    groups = net.parameter_groups(
        lr=config.lr,
        first=config.lr_first,
        last=config.lr_last,
        bias=config.lr_bias,
        weight_decay=config.weight_decay,
    )
    return SGD(groups, clip=config.clip, momentum=config.momentum)
