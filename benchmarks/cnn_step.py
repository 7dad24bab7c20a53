"""Time and memory of a step of the π-CNN beside finite networks of the same shape, on the CPU, one thread.

    python benchmarks/cnn_step.py [--width 512] [--rank 32] [--directions 16] [--batch 64]

A 5 × 5 stride-2 input layer, two 3 × 3 layers with 2 × 2 averages of φ before each, on 32 × 32 images.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy

import mupi
from mupi.nets import MuCNN


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        rank: r.
        directions: Directions of degree 2.
        width: Of the finite networks.
        batch: Images a step.
        steps: Of which the median is taken.
    """

    rank: int = 32
    directions: int = 16
    width: int = 512
    batch: int = 64
    steps: int = 5


def main(config: Config) -> None:
    """Print processor milliseconds of a step, and MB of parameters and buffers."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape: dict[str, Any] = dict(image_shape=(3, 32, 32), d_out=10, generator=generator)
    lean = mupi.Hermite(2, subspace=config.directions, renew_every=2**20, window=1024)
    nets = {
        "π-limit": mupi.PiCNN(rank=config.rank, features=lean, **shape),
        f"finite π-net, n = {config.width}": mupi.PiCNN(
            rank=config.rank, features=mupi.RandomFeatures(config.width), **shape
        ),
        f"μP, n = {config.width}": MuCNN(width=config.width, **shape),
    }
    x = torch.randn(config.batch, 3, 32, 32, generator=generator)
    y = torch.randint(10, (config.batch,), generator=generator)
    table = Table(f"batch {config.batch}", "ms a step", "MB stored")
    for label, net in nets.items():
        optimizer, times = mupi.SGD(net.parameter_groups(0.01), clip=1.0, momentum=0.9), []
        for _ in range(config.steps):
            start = time.process_time()
            cross_entropy(net(x), y).backward()
            optimizer.step()
            times.append(time.process_time() - start)
        stored = sum(t.numel() * t.element_size() for t in (*net.parameters(), *net.buffers())) / 1e6
        table.add_row(label, f"{1e3 * sorted(times)[len(times) // 2]:.0f}", f"{stored:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
