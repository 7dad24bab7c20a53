"""Kernel regression on CIFAR-10 with convolutional kernels, which learn no features, at several sizes of image.

    python benchmarks/conv_kernels.py [--train-size 1000] [--test-size 1000] [--shrink 4] [--pooling False]

`ConvNNGP` and `ConvNTK` of depth 3, ReLU, 3 × 3 filters, with and without the average over positions. Pairs of
positions make the pooled ones (32/shrink)⁴ times as dear as a perceptron's kernel, so images are shrunk first.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch.nn.functional import avg_pool2d

import mupi
from mupi.data import load
from mupi.nets import ConvNNGP, ConvNTK


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        train_size: The first images of the training set.
        test_size: The first images of the test set.
        shrink: Side of the blocks of pixels that are averaged.
        depth: Hidden layers.
        ridge: In units of the mean diagonal.
        pooling: Without the average over positions, with it, or both.
        device: cpu or cuda.
        data_dir: Where CIFAR-10 is; None for the usual places.
    """

    train_size: int = 1000
    test_size: int = 1000
    shrink: int = 4
    depth: int = 3
    ridge: float = 1e-4
    pooling: tuple[bool, ...] = (False, True)
    device: str = "cpu"
    data_dir: Path | None = None


def main(config: Config) -> None:
    """Print accuracy and seconds of each kernel."""
    torch.set_num_threads(1)
    data = load("cifar10", config.data_dir).to(config.device)
    x, xt = (
        avg_pool2d(images.reshape(-1, 3, 32, 32), config.shrink).flatten(1)
        for images in (data.train_x[: config.train_size], data.test_x[: config.test_size])
    )
    y, yt = data.train_y[: config.train_size], data.test_y[: config.test_size]
    side = 32 // config.shrink
    for pooling in config.pooling:
        for kind in (ConvNNGP, ConvNTK):
            start = time.perf_counter()
            kernel = kind((3, side, side), config.depth, mupi.ReLU(), pooling)
            score = mupi.KernelRegression(kernel, config.ridge).fit(x, y, classes=len(data.classes)).score(xt, yt)
            name = f"{kind.__name__}{', pooled' if pooling else ''}"
            print(f"{name}: {score:.2%}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
