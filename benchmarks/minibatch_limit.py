"""The limit of many steps of SGD on mini-batches beside networks: 1,000 digits, three hidden layers.

    python benchmarks/minibatch_limit.py [--batch 50] [--steps 200] [--samples 8192] [--out runs/minibatch-limit]

tanh, three hidden layers without biases in μP, ten outputs, squared distance to the centered one-hot targets, digits
of norm about 1, batches in an order that all networks and the limit share. Compared are the outputs on each batch
before its step. What is measured is said in `limit_comparison`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from torch import Tensor

from limit_comparison import Sizes, report, trained
from mupi import MuLimit, Tanh
from mupi.architecture.zoo import perceptron
from mupi.data import load
from mupi.kernels.labels import centered_one_hot


@dataclass(frozen=True)
class Config(Sizes):
    """What to train.

    Attributes:
        images: How many digits.
        batch: B.
        steps: T.
        depth: L.
        lr: η.
    """

    images: int = 1000
    batch: int = 50
    steps: int = 200
    depth: int = 3
    lr: float = 0.3
    widths: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192)
    seeds: int = 3
    samples: int = 8192
    pairs: int = 2
    tolerance: float = 0.2
    coarse: float = 0.0
    out: Path = Path("runs/minibatch-limit")
    figure: Path | None = None
    threads: int = 1


def squared_distance(f: Tensor, y: Tensor) -> Tensor:
    """Mean over the batch."""
    return (f - y).square().sum(1).mean()


def batches(config: Config) -> tuple[Tensor, Tensor]:
    """Inputs (steps, batch, 64) and targets (steps, batch, 10), epochs in orders of their own."""
    data = load("digits")
    x, y = data.train_x[: config.images].double() / 8, data.train_y[: config.images]
    generator = torch.Generator().manual_seed(0)
    epochs = -(-config.steps * config.batch // config.images)
    order = torch.cat([torch.randperm(len(x), generator=generator) for _ in range(epochs)])
    order = order[: config.steps * config.batch].reshape(config.steps, config.batch)
    return x[order], centered_one_hot(y, 10, torch.float64)[order]


def network(config: Config, x: Tensor, y: Tensor, width: int, seed: int) -> Tensor:
    """Outputs (steps, batch · 10) of a network in float32, before each step."""
    generator = torch.Generator().manual_seed(1_000_000 * seed + width)
    arch = perceptron(64, 10, config.depth, Tanh(), bias=False)
    net = arch.finite(width, input_std=1.0, generator=generator, dtype=torch.float32)
    optimizer = torch.optim.SGD(net.parameter_groups(config.lr))
    outputs = []
    for inputs, targets in zip(x.float(), y.float(), strict=True):
        f = net(inputs)
        outputs.append(f.detach().flatten().double())
        optimizer.zero_grad()
        squared_distance(f, targets).backward()
        optimizer.step()
    return torch.stack(outputs)


def limit(config: Config, tolerance: float, seed: int) -> MuLimit:
    """Two replicates, in float32."""
    return MuLimit(
        perceptron(64, 10, config.depth, Tanh(), bias=False),
        lr=config.lr,
        input_std=1.0,
        loss=squared_distance,
        samples=config.samples,
        replicates=2,
        tolerance=tolerance,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float32,
    )


def main(config: Config) -> None:
    """Train what is missing, and compare."""
    torch.set_num_threads(config.threads)
    x, y = batches(config)
    settings = {name: asdict(config)[name] for name in ("images", "batch", "steps", "depth", "lr")}
    found = trained(
        config,
        settings,
        config.steps,
        lambda width, seed: network(config, x, y, width, seed),
        lambda tolerance, seed: limit(config, tolerance, seed),
        lambda at, t: at.step(x[t], y[t])[0].flatten(1),
        Console(),
    )
    marks = [t for t in (1, 10, 30, 60, 100, 150, 199) if t < config.steps]

    def losses(f: Tensor) -> Tensor:
        return (f.unflatten(-1, (config.batch, 10)) - y).square().sum(-1).mean(-1)

    report(config, f"SGD on batches of {config.batch}", marks, losses, found)


if __name__ == "__main__":
    main(tyro.cli(Config))
