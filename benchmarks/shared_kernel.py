"""Regression on images with the NTK of a perceptron, whose tiles, or whose factor, several processes share:

    torchrun --nproc-per-node 4 benchmarks/shared_kernel.py [--images 50000] [--factor]
    python benchmarks/shared_kernel.py [--images 50000] [--factor]

CIFAR-10, one thread a process. Each call keeps its predictions of 1,000 test images in a folder, and says how far those
of calls with other numbers of processes are off.
"""

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import tyro

import mupi
from mupi.data import load
from mupi.distributed.launched import launched
from mupi.kernels import Cholesky, ConjugateGradients

TESTS = 1000


@dataclass(frozen=True)
class Shared:
    """Conjugate gradients on tiles, or a Cholesky factor, that processes keep shares of.

    Attributes:
        images: Training images.
        factor: Whether it is a factor.
        ridge: In units of the mean diagonal.
        tolerance: Of the residual.
        rank: Of the preconditioner.
        memory: Bytes of tiles that all processes together keep.
        out: Where predictions are kept.
    """

    images: int = 5_000
    factor: bool = False
    ridge: float = 1e-3
    tolerance: float = 1e-4
    rank: int = 500
    memory: int = 6 * 10**9
    out: Path = Path(tempfile.gettempdir()) / "shared-kernel"


def main(config: tyro.conf.OmitArgPrefixes[Shared]) -> None:
    """Fit, predict, and print seconds, memory and differences."""
    data = load("cifar10")
    images = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(0))[: config.images]
    x, y, test_x, test_y = data.train_x[images], data.train_y[images], data.test_x[:TESTS], data.test_y[:TESTS]
    classes = len(data.classes)
    del data
    with launched("cpu") as processes:
        size, solver = processes.size, Cholesky(shared=processes.size > 1)
        if not config.factor:
            memory = config.memory // size
            solver = ConjugateGradients(config.tolerance, config.rank, memory=memory, shared=size > 1)
        regression = mupi.KernelRegression(mupi.NTK(2, mupi.ReLU()), config.ridge, solver)
        wall, cpu = time.perf_counter(), time.process_time()
        regression.fit(x, y, classes=classes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        predictions = regression.predict(test_x)
        peak = torch.tensor(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
        peaks, cpus = [torch.zeros(()) for _ in range(size)], [torch.zeros(()) for _ in range(size)]
        if size > 1:
            dist.all_gather(peaks, peak)
            dist.all_gather(cpus, torch.tensor(cpu))
        else:
            peaks, cpus = [peak], [torch.tensor(cpu)]
        if not processes.first:
            return
        shown = [", ".join(f"{float(v):.{digits}f}" for v in each) for each, digits in ((cpus, 0), (peaks, 2))]
        print(
            f"{type(solver).__name__}, n={config.images}, p={size}: {wall:.0f} s, of each processor {shown[0]} s, "
            f"peak memory {shown[1]} GB, "
            f"{regression.iterations} iterations, residual {regression.residual:.2e}, "
            f"accuracy {float((predictions.argmax(1) == test_y).double().mean()):.3f}"
        )
        config.out.mkdir(parents=True, exist_ok=True)
        problem = f"{config.images}-{'factor' if config.factor else f'{config.tolerance:g}'}"
        torch.save(predictions, config.out / f"{problem}-{size}.pt")
        for path in sorted(config.out.glob(f"{problem}-*.pt")):
            other = torch.load(path)
            off = float((predictions - other).norm() / other.norm())
            print(f"  off those of p={path.stem.split('-')[-1]} by {off:.1e}, classes of {TESTS} that differ: "
                  f"{int((predictions.argmax(1) != other.argmax(1)).sum())}")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Shared, description=__doc__))
