"""Time and memory of a step of the π-CNN beside finite networks of the same shape, on the CPU, one thread.

    python benchmarks/cnn_step.py [--width 512] [--rank 32] [--directions 16] [--batch 64] [--no-finite]

A 5 × 5 stride-2 input layer, two 3 × 3 layers with 2 × 2 averages of φ before each, on 32 × 32 images. Each in float32,
and with products in bfloat16 and the rest fused by torch.compile; steps of all take turns.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy

import mupi
from mupi.compilers import fuse
from mupi.nets import MuCNN, Network


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        rank: r.
        directions: Directions of degree 2.
        width: Of the finite networks.
        batch: Images a step.
        steps: Of which the median is taken.
        finite: Whether finite networks are measured too.
    """

    rank: int = 32
    directions: int = 16
    width: int = 512
    batch: int = 64
    steps: int = 5
    finite: bool = True


def stepper(net: Network, fast: bool, x: Tensor, y: Tensor) -> Callable[[], None]:
    """A step of a network, in bfloat16 and compiled or not."""
    optimizer = mupi.SGD(net.parameter_groups(0.01), clip=1.0, momentum=0.9)
    if fast:
        fuse(net)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
            loss = cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main(config: Config) -> None:
    """Print processor milliseconds of a step, and MB of parameters and buffers."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape: dict[str, Any] = dict(image_shape=(3, 32, 32), d_out=10, generator=generator)
    lean = mupi.Hermite(2, subspace=config.directions, renew_every=2**20, window=1024)
    nets: dict[str, Callable[[], Network]] = {
        "π-limit": lambda: mupi.PiCNN(rank=config.rank, features=lean, **shape),
        f"finite π-net, n = {config.width}": lambda: mupi.PiCNN(
            rank=config.rank, features=mupi.RandomFeatures(config.width), **shape
        ),
        f"μP, n = {config.width}": lambda: MuCNN(width=config.width, **shape),
    }
    if not config.finite:
        nets = {"π-limit": nets["π-limit"]}
    x = torch.randn(config.batch, 3, 32, 32, generator=generator)
    y = torch.randint(10, (config.batch,), generator=generator)
    table = Table(f"batch {config.batch}", "ms a step", "bfloat16, compiled", "MB stored")
    steps = {(label, fast): stepper(make(), fast, x, y) for label, make in nets.items() for fast in (False, True)}
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in steps}
    for i in range(config.steps + 2):
        for key, step in steps.items():
            start = time.process_time()
            step()
            if i >= 2:  # the first compile, and draw the directions
                times[key].append(time.process_time() - start)
    for label, make in nets.items():
        net = make()
        stored = sum(t.numel() * t.element_size() for t in (*net.parameters(), *net.buffers())) / 1e6
        plain, fast = (1e3 * median(times[label, fast]) for fast in (False, True))
        table.add_row(label, f"{plain:.0f}", f"{fast:.0f}", f"{stored:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
