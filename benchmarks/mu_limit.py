"""Time and memory of `MuLimit` by steps T, samples S, inputs a step B, and tolerance.

    python benchmarks/mu_limit.py [--steps 10] [--samples 2048] [--batch 16] [--images digits]

One of the four is varied at a time, the others as given. Two tanh layers in μP, two replicates, squared error against
random targets: by default on Gaussian inputs of norm about 1, which fill the directions that TB steps have; on digits
most of them are small and not followed. Each row is measured in a fresh process: seconds of processor time, in all and
of the last step; K, the directions that the hidden matrix has met forwards and backwards, beside 4 S K numbers a
replicate, the memory that they take; and the growth of the process's peak memory. Below the table are the exponents of
growth between the last two rows of each part.
"""

import math
import multiprocessing
import time
from dataclasses import dataclass, replace
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from mupi import MuLimit
from mupi.data import load
from mupi.training.memory_use import PeakMemory


@dataclass(frozen=True)
class Config:
    """What to train, and what to vary.

    Attributes:
        steps: T.
        samples: S.
        batch: B.
        tolerance: Relative size below which directions are dropped.
        images: Inputs.
        vary_steps: Values of T.
        vary_samples: Values of S.
        vary_batch: Values of B.
        vary_tolerance: Values of the tolerance.
        threads: Threads of torch.
    """

    steps: int = 10
    samples: int = 2048
    batch: int = 16
    tolerance: float = 1e-3
    images: Literal["gaussian", "digits"] = "gaussian"
    vary_steps: tuple[int, ...] = (5, 10, 20, 40)
    vary_samples: tuple[int, ...] = (1024, 2048, 4096, 8192)
    vary_batch: tuple[int, ...] = (4, 8, 16, 32, 64)
    vary_tolerance: tuple[float, ...] = (1e-3, 1e-2, 3e-2, 1e-1)
    threads: int = 1


REPLICATES = 2


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Attributes:
        seconds: Processor time.
        last_step: Of the last step.
        directions: K, the mean of forwards and backwards.
        peak_mb: Growth of the process's memory at its peak.
    """

    seconds: float
    last_step: float
    directions: float
    peak_mb: float


def measure(config: Config) -> Cost:
    """Train once."""
    torch.set_num_threads(config.threads)
    generator = torch.Generator().manual_seed(0)
    if config.images == "digits":
        x = load("digits").train_x[: config.batch].double() / 8
    else:
        x = torch.randn(config.batch, 64, generator=generator, dtype=torch.float64) / 8
    y = torch.randn(config.batch, 1, generator=generator, dtype=torch.float64).sign()

    def train(steps: int) -> tuple[MuLimit, list[float]]:
        limit = MuLimit(
            lr=0.5,
            input_std=1.0,
            samples=config.samples,
            replicates=REPLICATES,
            tolerance=config.tolerance,
            generator=generator,
        )
        times = [time.process_time()]
        for _ in range(steps):
            limit.step(x, y)
            times.append(time.process_time())
        return limit, times

    train(1)  # what torch loads at the first use is not the limit's
    memory = PeakMemory(torch.device("cpu"))
    limit, times = train(config.steps)
    (forwards, backwards), *_ = limit.ranks
    return Cost(times[-1] - times[0], times[-1] - times[-2], (forwards + backwards) / 2, memory.growth() / 1e6)


def main(config: Config) -> None:
    """Measure, and print a table."""
    console = Console(highlight=False)
    table = Table("T", "S", "B", "tolerance", "K", "seconds", "last step", "peak MB", "4 S K numbers, MB")
    exponents = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in ("steps", "samples", "batch", "tolerance"):
            rows = []
            for value in getattr(config, f"vary_{name}"):
                row = replace(config, **{name: value})
                cost = pool.apply(measure, (row,))
                rows.append((value, cost))
                stored = 4 * row.samples * cost.directions * REPLICATES * 8 / 1e6
                sizes = (str(row.steps), str(row.samples), str(row.batch), f"{row.tolerance:g}")
                costs = (cost.directions, cost.seconds, cost.last_step, cost.peak_mb, stored)
                table.add_row(*sizes, *(f"{number:.3g}" for number in costs))
            table.add_section()
            (a, before), (b, after) = rows[-2:]
            growth = {what: math.log(getattr(after, what) / getattr(before, what)) / math.log(b / a)
                      for what in ("seconds", "last_step", "directions", "peak_mb")}  # fmt: skip
            powers = ", ".join(f"{what} ~ {name}^{power:.2f}" for what, power in growth.items())
            exponents.append(f"{name} {a:g} → {b:g}: {powers}")
    console.print(table, *exponents, sep="\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
