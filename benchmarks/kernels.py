"""Kernels of infinitely wide networks on one core: CPU time of mupi, and of neural-tangents beside it.

    python benchmarks/kernels.py [--peer PATH] [--repeats 5] [--cases perceptron conv pool deep deep-pool] [--full]

ReLU, float32, K(x, x) of standard normal inputs, by one thread, after a first call that warms up (and compiles):

- perceptron: NNGP and NTK of 3,000 inputs, d = 3,072, two hidden layers; seconds for all.
- conv: NTK of 5 × (3×3 convolution, ReLU) and a readout of all positions, 32 × 32 × 3, 200 images; ms an entry.
- pool: the same with the average over positions, 16 × 16 × 3, 6 images.
- deep, deep-pool: the network of neural-tangents' own table, 21 × (3×3 convolution, ReLU) on 32 × 32 × 3, without the
  average and with it.

An entry is one of the n² of the matrix, of which mupi computes the lower triangle; ``--full`` has it compute all.

neural-tangents (0.6.5, archived, imports with JAX up to 0.4) needs an environment of its own: ``--peer``, or the
variable MUPI_NEURAL_TANGENTS, is the path of that environment's python. Its process answers whenever this one has had
its turn, so that both see the same machine. What is compared is time.process_time, whose minimum other processes
disturb least. Kernels are compared too: the largest difference is printed, in units of the largest entry.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

import mupi
from mupi.architecture import zoo

Case = Literal["perceptron", "conv", "pool", "deep", "deep-pool"]


@dataclass(frozen=True)
class Size:
    """What a case computes.

    Attributes:
        images: How many inputs.
        side: Of the images; 0 for vectors of 3,072.
        depth: Hidden layers.
        average: Whether there is an average over positions.
    """

    images: int
    side: int
    depth: int
    average: bool = False


SIZES: dict[Case, Size] = {
    "perceptron": Size(3000, 0, 2),
    "conv": Size(200, 32, 5),
    "pool": Size(6, 16, 5, True),
    "deep": Size(60, 32, 21),
    "deep-pool": Size(2, 32, 21, True),
}


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        peer: The python of an environment with neural-tangents; None for $MUPI_NEURAL_TANGENTS, or mupi alone.
        cases: Which.
        repeats: Calls of each, in turn.
        full: Whether mupi computes all of a symmetric matrix.
        device: cpu or cuda, of mupi; seconds are those of the clock on the latter.
    """

    peer: Path | None = None
    cases: tuple[Case, ...] = ("perceptron", "conv", "pool", "deep", "deep-pool")
    repeats: int = 5
    full: bool = False
    device: str = "cpu"


# Reads "case path repeats", answers; then computes once for each line that it reads, and writes CPU seconds.
PEER = """
import os, sys, time
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax, numpy as np
from neural_tangents import stax
out, sys.stdout = sys.stdout, sys.stderr
path, depth, average, kinds = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True", tuple(sys.argv[4].split(","))
x = np.load(path)
layers, flat = [], x.ndim == 2
for _ in range(depth):
    layers += [stax.Dense(1, 2**.5) if flat else stax.Conv(1, (3, 3), padding="SAME", W_std=2**.5), stax.Relu()]
layers += ([] if flat else [stax.GlobalAvgPool() if average else stax.Flatten()]) + [stax.Dense(1, 2**.5)]
kernel = jax.jit(lambda a: tuple(stax.serial(*layers)[2](a, None, kinds)))
np.save(path, np.stack(jax.block_until_ready(kernel(x))))
print("ready", file=out, flush=True)
for _ in sys.stdin:
    start = time.process_time()
    jax.block_until_ready(kernel(x))
    print(time.process_time() - start, file=out, flush=True)
"""


class Peer:
    """neural-tangents in its own process."""

    def __init__(self, python: Path, size: Size, x: np.ndarray, kinds: tuple[str, ...]):
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "x.npy"
        np.save(self._path, x)
        arguments = [str(self._path), str(size.depth), str(size.average), ",".join(kinds)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [str(python), "-c", PEER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if self._answer() != "ready":
            raise SystemExit(f"{python} could not compute the kernel: is neural-tangents in its environment?")
        self.kernels = np.load(self._path)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def seconds(self) -> float:
        """Of another call."""
        assert self._process.stdin is not None
        print("again", file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def ours(case: Case, x: torch.Tensor, full: bool) -> Callable[[], tuple[torch.Tensor, ...]]:
    """A call of mupi."""
    size = SIZES[case]
    if size.side:
        shape = (3, size.side, size.side)
        arch = zoo.cnn(shape, 1, size.depth, mupi.ReLU(), average=size.average)
        both = arch.kernels("ntk")
    else:
        both = zoo.perceptron(x.shape[1], 1, size.depth, mupi.ReLU()).kernels("nngp", "ntk")
    return lambda: both(x, x.clone() if full else None)


def timed(call: Callable[[], object], on_clock: bool) -> float:
    """Seconds of CPU time, or of an accelerator."""
    if on_clock:
        torch.cuda.synchronize()
    now = time.perf_counter if on_clock else time.process_time
    start = now()
    call()
    if on_clock:
        torch.cuda.synchronize()
    return now() - start


def measure(case: Case, config: Config, python: Path | None) -> str:
    """One line of the table."""
    size = SIZES[case]
    generator = torch.Generator().manual_seed(0)
    shape = (3, size.side, size.side) if size.side else (3072,)
    x = torch.randn(size.images, *shape, generator=generator)
    call = ours(case, x.flatten(1).to(config.device), config.full)
    mine = call()
    unit, scale = ("s", 1.0) if case == "perceptron" else ("ms an entry", 1e3 / size.images**2)
    peer = None
    if python is not None:
        channels_last = x.movedim(1, -1).contiguous().numpy()
        peer = Peer(python, size, channels_last, ("nngp", "ntk") if case == "perceptron" else ("ntk",))
    times: list[list[float]] = [[], []]
    for _ in range(config.repeats):
        times[0].append(scale * timed(call, config.device != "cpu"))
        if peer is not None:
            times[1].append(scale * peer.seconds())
    cells = [case, unit, f"{min(times[0]):.4g}", f"{statistics.median(times[0]):.4g}"]
    if peer is not None:
        peer.close()
        found = np.stack([k.cpu().numpy() for k in mine])
        difference = np.abs(found - peer.kernels).max() / np.abs(peer.kernels).max()
        ratios = [f"{of(times[1]) / of(times[0]):.3g}" for of in (min, statistics.median)]
        cells += [f"{min(times[1]):.4g}", f"{statistics.median(times[1]):.4g}", *ratios, f"{difference:.1e}"]
    return "| " + " | ".join(cells) + " |"


def main(config: Config) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    given = config.peer or os.environ.get("MUPI_NEURAL_TANGENTS")
    python = None if given is None else Path(given)
    heads = ["case", "", "mupi, min", "median"]
    if python is not None:
        heads += ["neural-tangents, min", "median", "ratio of min", "of medians", "largest difference"]
    print(f"torch {torch.__version__}, {config.device}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for case in config.cases:
        print(measure(case, config, python), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
