"""The networks of every architecture for `mupi train`, and how they are trained by default."""

from dataclasses import replace
from typing import Any

import torch

from mupi.data import Dataset
from mupi.experiments.training.build import build_network
from mupi.experiments.training.config import ACTIVATIONS, TrainConfig
from mupi.nets import MLP, MuCNN, PiNetwork, small_cnn, small_mu_cnn, small_resnet, small_transformer


def build_architecture(config: TrainConfig, data: Dataset, generator: torch.Generator) -> PiNetwork | MLP | MuCNN:
    """The network that ``config.arch`` names; but for perceptrons at the size of `mupi.nets.presets` for the images."""
    if config.arch == "mlp":
        return build_network(config, data, generator)
    options = dict[str, Any](
        image_shape=data.image_shape,
        d_out=len(data.classes),
        depth=config.depth,
        activation=ACTIVATIONS[config.activation],
        output_scale=config.output_scale,
        bias_scale=config.bias_scale,
        generator=generator,
        device=config.device,
    )
    if config.network == "mup":
        return small_mu_cnn(width=config.width, **options)
    options |= dict(rank=config.rank, features=config.feature_map, readout_std=config.readout_init / config.rank)
    match config.arch:
        case "cnn":
            return small_cnn(input_scale=config.input_scale, **options)
        case "resnet":
            return small_resnet(input_scale=config.input_scale, **options)
        case _:
            heads = next(heads for heads in (4, 2, 1) if config.rank % heads == 0)
            return small_transformer(heads=heads, **options)


def architecture_protocol(base: TrainConfig, arch: str) -> TrainConfig:
    """How a network of another architecture is trained on the data of ``base``.

    A centred activation with a strong quadratic part, of which degree 2 is exact, at a rank at which the features of
    every position fit into little memory; momentum, and on photographs flips and shifts.
    """
    photographs = base.dataset == "cifar10"
    return replace(
        base,
        arch=arch,
        activation="centred",
        rank=32,
        subspace=16,
        width=256,
        depth=2 if arch == "transformer" else 3,
        flip=photographs,
        shift=4 if photographs else 0,
        output_scale=1.0,
        readout_init=0.0,
        epochs=12,
        batch_size=64 if photographs else 32,
        lr=0.5,
        lr_first=1.0,
        lr_last=1.0,
        lr_bias=1.0,
        drop_epoch=9,
        clip=1.0,
        weight_decay=0.0,
        momentum=0.9,
    )
