"""The parts of a training run, made as its configuration says."""

from typing import Any

import torch

from mupi.commands.machine import require_device
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import MuPerceptron, PiPerceptron, StandardPerceptron
from mupi.data import Dataset, load
from mupi.data.own.load import OwnData
from mupi.nets import MLP, Network, PiMLP
from mupi.optim import SGD
from mupi.parameters import factor_gradients
from mupi.parametrization import Parametrization

# Where gradients kept as factors were measured to be faster, on a CPU: a step at r = 400 with 100 directions takes
# 3 to 5 % less time at batch 32, 10 % less at batch 8, and 10 % more at batch 128; with degree 2 in full 30 % less at
# batch 32. In small networks they cost more than they save.
LARGEST_FACTORED_BATCH = 32
FEWEST_FACTORED_PARAMETERS = 1_000_000


def independent_generators(seed: int, n: int) -> list[torch.Generator]:
    """Generators with unrelated numbers: drawing more from one changes nothing for the others."""
    root = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (n,), generator=root)
    return [torch.Generator().manual_seed(int(s)) for s in seeds]


def build_data(config: TrainConfig, generator: torch.Generator, own: OwnData | None = None) -> Dataset:
    """The data set, or the part of it that is asked for, on the device.

    Args:
        config: Says which.
        generator: Draws the part.
        own: What was made of a user's file; None for another data set.

    Raises:
        ValueError: If torch has no such device, or the data set not as many images.
    """
    require_device(config.device)
    if config.data_seed is not None:
        (generator,) = independent_generators(config.data_seed, 1)
    if own is None:
        data = load(config.dataset, config.data_dir, classes=config.classes, files=config.files, generator=generator)
    else:
        data = own.data
    if config.validation is not None:
        data = data.split_validation(config.validation, generator)
    if config.train_size is not None:
        data = data.take(config.train_size, generator)
    return data.to(config.device)


def build_network(config: TrainConfig, data: Dataset, generator: torch.Generator) -> PiMLP | MLP:
    """The perceptron before training."""
    network = config.network
    assert isinstance(network, PiPerceptron | MuPerceptron | StandardPerceptron)
    common = dict[str, Any](
        d_in=data.train_x.shape[1],
        d_out=data.outputs,
        depth=network.depth,
        activation=network.activation,
        input_scale=network.input_scale,
        output_scale=network.output_scale,
        bias_scale=network.bias_scale,
        generator=generator,
        device=config.device,
    )
    if isinstance(network, PiPerceptron):
        readout_std = network.readout_init / network.rank
        net = PiMLP(rank=network.rank, features=network.features, readout_std=readout_std, **common)
        large = sum(p.numel() for p in net.parameters()) >= FEWEST_FACTORED_PARAMETERS
        # In compiled steps gradients are ordinary ones.
        if large and config.batch_size <= LARGEST_FACTORED_BATCH and not config.compile:
            factor_gradients(net)
        return net
    parametrization = Parametrization.mup if isinstance(network, MuPerceptron) else Parametrization.standard
    return MLP(
        width=network.width,
        parametrization=parametrization(network.depth),
        sigma_w=network.sigma_w,
        input_std=network.sigma_first,
        readout_std=network.readout_init * network.sigma_w,
        **common,
    )


def build_optimizer(config: TrainConfig, net: Network) -> SGD:
    """SGD with a learning rate for each kind of layer."""
    groups = net.parameter_groups(
        lr=config.lr,
        first=config.lr_first,
        last=config.lr_last,
        bias=config.lr_bias,
        weight_decay=config.weight_decay,
    )
    return SGD(groups, clip=config.clip, momentum=config.momentum)
