"""Speed and memory of a π-layer: forward + backward + step, against the bare matrix products.

    python benchmarks/pi_layer.py [--rank 400] [--atoms 5000 20000 80000 160000] [--device cpu]

The baseline runs in the same process, in turn with the layer: for `Atoms` the five products of one pass (two forward,
three backward, of them one recomputed) over all atoms at once, by torch; for matrix features the three products of
forward, backward and update. Times are medians of several rounds, of processor time on the CPU. Peak memory is
taken in a fresh process per row.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

import mupi
from mupi.features import Features
from mupi.layers import PiLinear
from mupi.training.memory_use import PeakMemory


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        rank: r.
        atoms: Numbers M of stored atoms for `Atoms`; for the others the training length makes no difference.
        batches: Batch sizes.
        rounds: Timed rounds; the median is shown.
        device: cpu or cuda.
        threads: Threads of torch on the CPU.
    """

    rank: int = 400
    atoms: tuple[int, ...] = (5_000, 20_000, 80_000, 160_000)
    batches: tuple[int, ...] = (32, 8)
    rounds: int = 7
    device: str = "cpu"
    threads: int = 1


def seconds(run: Callable[[], object], device: str) -> float:
    """Time of one call: the processor's on the CPU, which other processes disturb least, else the wall's."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int, device: str) -> tuple[float, float]:
    """Median times of two calls, timed in turn."""
    first(), second()
    pairs = [(seconds(first, device), seconds(second, device)) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def build(features: Features, rank: int, device: str, atoms: int) -> PiLinear:
    """A layer; with `Atoms`, of ``atoms`` atoms, appended in pieces as a training would."""
    generator = torch.Generator().manual_seed(0)
    layer = PiLinear(rank, rank, features=features, activation=mupi.ReLU(), generator=generator, device=device)
    weight = layer.weight
    if isinstance(weight, mupi.features.AtomWeight):
        while (missing := atoms - weight.num_atoms) > 0:
            n = min(missing, 512)
            a, b = (torch.randn(n, rank, generator=generator).to(device) for _ in range(2))
            weight.append(a.new_full((n,), 1e-3), a, b)
    return layer


def training_step(layer: PiLinear, batch: int) -> Callable[[], object]:
    """One step at a learning rate of 0, so that every round does the same work."""
    device = next(layer.parameters()).device
    mupi.factor_gradients(layer)
    optimizer = mupi.SGD(layer.parameters(), lr=0.0, clip=1.0)
    g = torch.randn(batch, layer.weight.rank_in, device=device, requires_grad=True)
    delta = torch.randn(batch, layer.weight.rank_out, device=device)

    def step():
        layer(g).backward(delta)
        optimizer.step()

    return step


def bare_products(layer: PiLinear, batch: int) -> Callable[[], object]:
    """The matrix products of a step, and nothing else."""
    weight = layer.weight
    device = next(layer.parameters()).device
    g = torch.randn(batch, weight.rank_in, device=device)
    delta = torch.randn(batch, weight.rank_out, device=device)
    if isinstance(weight, mupi.features.AtomWeight):
        atoms = weight.expansion()

        def exact():
            k = g @ atoms.b.T
            _ = k @ atoms.a
            k, d = g @ atoms.b.T, delta @ atoms.a.T
            return d @ atoms.b

        return exact
    matrix = layer.get_parameter("weight.weight").data
    psi = torch.randn(batch, len(matrix), device=device)

    def features() -> Tensor:
        _ = psi @ matrix
        _ = delta @ matrix.T
        return matrix.addmm_(psi.T, delta, alpha=0.0)

    return features


def peak_over_stored(atoms: int, rank: int, batch: int, threads: int, answer) -> None:
    """In a process of its own: growth of the peak resident memory over the bytes of the stored atoms."""
    torch.set_num_threads(threads)
    training_step(build(mupi.Atoms(), rank, "cpu", 512), batch)()
    memory = PeakMemory(torch.device("cpu"))
    layer = build(mupi.Atoms(), rank, "cpu", atoms)
    training_step(layer, batch)()
    answer.put(memory.growth() / (layer.weight.num_atoms * (2 * rank + 1) * 4))


def memory_ratio(atoms: int, config: Config, batch: int) -> float:
    """`peak_over_stored`, from a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=peak_over_stored, args=(atoms, config.rank, batch, config.threads, answer))
    process.start()
    ratio = answer.get()
    process.join()
    return ratio


def main(config: Config) -> None:
    """Print one row per feature map, number of atoms and batch size."""
    torch.set_num_threads(config.threads)
    table = Table(title=f"π-layer, r = {config.rank}, {config.device}, {config.threads} thread(s), float32")
    for column in ("features", "atoms or features", "batch", "ms a step", "ms bare products", "rate", "peak / stored"):
        table.add_column(column, justify="left" if column == "features" else "right")
    console = Console()
    cases: list[tuple[str, Features, int]] = [(f"Atoms, M = {m:,}", mupi.Atoms(), m) for m in config.atoms]
    cases += [
        ("Hermite(2)", mupi.Hermite(2), 0),
        ("Hermite(2, subspace=100)", mupi.Hermite(2, subspace=100), 0),
        ("RandomFeatures(2048)", mupi.RandomFeatures(2048), 0),
    ]
    for batch in config.batches:
        for name, features, m in cases:
            layer = build(features, config.rank, config.device, m)
            size = layer.weight.num_atoms or len(layer.get_parameter("weight.weight"))
            ours, bare = paired(training_step(layer, batch), bare_products(layer, batch), config.rounds, config.device)
            ratio = f"{memory_ratio(m, config, batch):.2f}" if m and config.device == "cpu" else ""
            table.add_row(
                name, f"{size:,}", str(batch), f"{ours * 1e3:.2f}", f"{bare * 1e3:.2f}", f"{bare / ours:.0%}", ratio
            )
            del layer
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
