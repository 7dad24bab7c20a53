"""Small networks of each architecture for images of any size, at the sizes that were found sensible.

Convolutional ones subtract each layer's mean. On 6,000 images of CIFAR-10, 3 epochs of 64 a step (r = 32, 16
directions, lr 2, of the readout 8; one seed), the π-CNN reached 43.6 % of 1,000 held-out training images with it and
40.6 % without; two convolutions deeper 36.7 and 30.2 %. Input filters that whiten patches of pixels did not help:
44.6 % with it, 36.5 % without. One percent is noise.
"""

from collections.abc import Sequence
from typing import Any

from mupi.nets.images import ImageShape
from mupi.nets.mu_cnn import MuCNN
from mupi.nets.pi_cnn import PiCNN
from mupi.nets.pi_resnet import PiResNet
from mupi.nets.pi_transformer import PiTransformer
from mupi.nets.tokens import Patches

LARGE = 24
"""Pixels of a side from which the first layer takes every second position, and patches have 4 × 4 pixels."""


def small_cnn(
    image_shape: ImageShape, d_out: int, depth: int = 3, pools: Sequence[int] | None = None, **options: Any
) -> PiCNN:
    """A `PiCNN` with L = ``depth``; without ``pools`` it halves the grid before each convolution while it can."""
    options = dict(subtract_mean=True) | options
    pools = halvings(image_shape, depth - 1) if pools is None else pools
    return PiCNN(image_shape, d_out, pools=pools, **first_layer(image_shape), **options)


def small_mu_cnn(
    image_shape: ImageShape, d_out: int, depth: int = 3, pools: Sequence[int] | None = None, **options: Any
) -> MuCNN:
    """The `MuCNN` of the same shape."""
    options = dict(subtract_mean=True) | options
    pools = halvings(image_shape, depth - 1) if pools is None else pools
    return MuCNN(image_shape, d_out, pools=pools, **first_layer(image_shape), **options)


def small_resnet(image_shape: ImageShape, d_out: int, depth: int = 3, **options: Any) -> PiResNet:
    """A `PiResNet` with ``depth`` branches, spread evenly over at most three stages; see `PiResNet`."""
    stages = 1 + sum(pool == 2 for pool in halvings(image_shape, min(depth, 3) - 1))
    blocks = [depth // stages + (i >= stages - depth % stages) for i in range(stages)]
    options = dict(subtract_mean=True) | options
    return PiResNet(image_shape, d_out, blocks=blocks, **first_layer(image_shape), **options)


def small_transformer(image_shape: ImageShape, d_out: int, depth: int = 2, **options: Any) -> PiTransformer:
    """A `PiTransformer` with ``depth`` blocks on patches of 4 × 4 pixels, of small images 2 × 2."""
    patches = Patches(image_shape, 4 if min(image_shape[1:]) >= LARGE else 2)
    return PiTransformer(patches, d_out, depth=depth, **options)


def first_layer(image_shape: ImageShape) -> dict[str, int]:
    """5 × 5 filters at every second position, on small images 3 × 3 filters at every one."""
    if min(image_shape[1:]) >= LARGE:
        return dict(input_kernel=5, input_stride=2)
    return dict(input_kernel=3, input_stride=1)


def halvings(image_shape: ImageShape, number: int) -> Sequence[int]:
    """2 for each of ``number`` poolings while there are an even number of positions, at least 4, each way; then 1."""
    stride = first_layer(image_shape)["input_stride"]
    sizes = [-(-size // stride) for size in image_shape[1:]]
    pools = []
    for _ in range(number):
        pools.append(2 if all(size % 2 == 0 and size >= 4 for size in sizes) else 1)
        sizes = [size // pools[-1] for size in sizes]
    return pools
