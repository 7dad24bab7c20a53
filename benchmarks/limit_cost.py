"""What a step of SGD in the limit costs, by samples S, batch B, tolerance and steps T; and the rank K of the bases.

    python benchmarks/limit_cost.py [--steps 40] [--samples 2048 4096] [--batches 20 50] [--tolerances 0.03 0.1 0.3]

The digits, network and rates of `minibatch_limit`. Seconds are processor time of one replicate, the mean of the last
quarter of the steps; memory is 4 S K numbers for each hidden matrix and replicate, and the rest of a step.
"""

import time
from dataclasses import dataclass
from itertools import product

import torch
import tyro
from rich.console import Console
from rich.table import Table

import minibatch_limit


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        steps: T; a second row of each is of a quarter of them.
        samples: S.
        batches: B.
        tolerances: Relative sizes below which directions are not followed.
        depth: L.
        threads: Threads of torch.
    """

    steps: int = 40
    samples: tuple[int, ...] = (2048, 4096)
    batches: tuple[int, ...] = (20, 50)
    tolerances: tuple[float, ...] = (0.03, 0.1, 0.3)
    depth: int = 3
    threads: int = 1


def main(config: Config) -> None:
    """Print the table."""
    torch.set_num_threads(config.threads)
    table = Table(
        "S", "B", "tolerance", "T", "K of each matrix, forwards and backwards", "ms a step", "S K B numbers, ns"
    )
    for S, B, tolerance in product(config.samples, config.batches, config.tolerances):
        sizes = minibatch_limit.Config(samples=S, batch=B, steps=config.steps, depth=config.depth)
        x, y = minibatch_limit.batches(sizes)
        limit = minibatch_limit.limit(sizes, tolerance, 0)
        spent = []
        for t in range(config.steps):
            start = time.process_time()
            limit.step(x[t], y[t])
            spent.append((time.process_time() - start) / 2)
            if t + 1 in (config.steps // 4, config.steps):
                last = spent[-max(1, config.steps // 8) :]
                seconds, K = sum(last) / len(last), sum(map(sum, limit.ranks))
                met = ", ".join(f"{forwards}+{backwards}" for forwards, backwards in limit.ranks)
                row = f"{S:,}", f"{B}", f"{tolerance:g}", f"{t + 1}", met, f"{1000 * seconds:.0f}"
                table.add_row(*row, f"{1e9 * seconds / (S * K * B):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
