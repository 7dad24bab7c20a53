"""The networks of every architecture for `mupi train`, and how they are trained by default."""

from typing import Any

import torch

from mupi.commands.train.build import build_network
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import (
    FEATURES,
    ArchName,
    FinitePerceptron,
    MuConvolutional,
    NetworkName,
    PiConvolutional,
    PiPerceptron,
    PiResidual,
    PiTransformer,
    kind_of,
    plain_network,
)
from mupi.commands.train.presets import PROTOCOLS
from mupi.data import Dataset
from mupi.features import Hermite, RandomFeatures
from mupi.nets import CENTERED, small_cnn, small_mu_cnn, small_resnet, small_transformer
from mupi.nets import Network as NetworkProtocol


def build_architecture(config: TrainConfig, data: Dataset, generator: torch.Generator) -> NetworkProtocol:
    """The network of the configuration; but for perceptrons at the size of `mupi.nets.small_networks`."""
    network = config.network
    if isinstance(network, PiPerceptron | FinitePerceptron):
        return build_network(config, data, generator)
    options = dict[str, Any](
        image_shape=data.image_shape,
        d_out=data.outputs,
        depth=network.depth,
        activation=network.activation,
        output_scale=network.output_scale,
        bias_scale=network.bias_scale,
        generator=generator,
        device=config.device,
    )
    if isinstance(network, MuConvolutional):
        return small_mu_cnn(width=network.width, pools=network.pools, **options)
    options |= dict(rank=network.rank, features=network.features, readout_std=network.readout_init / network.rank)
    match network:
        case PiConvolutional():
            return small_cnn(pools=network.pools, **options)
        case PiResidual():
            return small_resnet(input_scale=network.input_scale, **options)
        case PiTransformer():
            heads = next(heads for heads in (4, 2, 1) if network.rank % heads == 0)
            return small_transformer(heads=heads, **options)


PHOTOGRAPH_RATES = {
    "cnn": dict(lr=4.0, lr_first=0.5, lr_last=2.0),
    "resnet": dict(lr=16.0, lr_first=0.125, lr_last=0.5),
    "transformer": dict(lr=0.5, lr_first=1.0, lr_last=1.0),
}
"""Learning rates on CIFAR-10. Those of input and readout are 2 and 8; branches of a residual network, whose multiplier
enters twice, want more than layers in sequence.

Chosen by the training loss and 1,000 held-out training images: 6,000 images, 3 epochs of 64, r = 32, one seed, cosine.
Percent and loss for the rates of hidden layers, input and readout. cnn: .5, .5, 2: 41.1, 1.684; 2, 2, 8: 43.6, 1.643;
4, 2, 8: 43.9, 1.629; 8, 2, 8: 43.7, 1.654; 32, 2, 8: 42.5, 1.680. With two more convolutions: 2, 2, 8: 36.7, 1.766;
8, 2, 8: 41.0, 1.728; 32, 2, 8: 38.2, 1.776. resnet: 2, 2, 8: 34.7, 1.904; 16, 2, 8: 38.9, 1.759. transformer: not
tuned. Mean gradient norms are .03 to .2, far below the clip.
"""


def architecture_protocol(base: TrainConfig, arch: ArchName) -> TrainConfig:
    """How a network of another architecture is trained on the data of ``base``.

    A centred activation with a strong quadratic part, of which degree 2 is exact, at a rank at which the features of
    every position fit into little memory; momentum, and on photographs flips and shifts.
    """
    photographs = base.dataset == "cifar10"
    rates = PHOTOGRAPH_RATES[arch] if photographs else dict(lr=0.5, lr_first=1.0, lr_last=1.0)
    return base.changed(
        kind=kind_of("pi", arch),
        features=Hermite(2, subspace=16),
        activation=CENTERED,
        rank=32,
        depth=2 if arch == "transformer" else 3,
        flip=photographs,
        shift=4 if photographs else 0,
        output_scale=1.0,
        readout_init=0.0,
        epochs=12,
        batch_size=64 if photographs else 32,
        **rates,
        lr_bias=1.0,
        drop_epoch=9,
        clip=1.0,
        weight_decay=0.0,
        momentum=0.9,
    )


def of_kind(preset: TrainConfig, network: NetworkName, arch: ArchName) -> TrainConfig:
    """How a network of another kind is trained by default, where ``preset`` is the protocol.

    Raises:
        ValueError: If there is no such network.
    """
    kind, config = kind_of(network, arch), preset
    if arch != plain_network(preset.network)["arch"]:
        config = architecture_protocol(preset, arch)
    if kind is not type(config.network):
        # A rank, where the preset's network has none.
        config = config.changed(kind=kind, otherwise=(PROTOCOLS[preset.dataset].network,))
    return config


def with_features(config: TrainConfig, name: str) -> TrainConfig:
    """With another feature map of default size, unless the configuration has one of that name."""
    kind = FEATURES[name]
    if kind is type(config.features):
        return config
    if kind is RandomFeatures:
        return config.changed(features=RandomFeatures(2048 if isinstance(config.network, PiPerceptron) else 256))
    return config.changed(features=kind())


def default_config(config: TrainConfig) -> TrainConfig:
    """What `mupi train` trains of this kind if no other option is given."""
    plain = plain_network(config.network)
    default = of_kind(PROTOCOLS[config.dataset], plain["network"], plain["arch"])
    return with_features(default, plain["features"]) if plain.get("features") in FEATURES else default
