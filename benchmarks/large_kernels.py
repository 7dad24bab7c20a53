"""Kernel regression beyond what a Cholesky factor holds: features for a million rows, iterations for tens of thousands.

    python benchmarks/large_kernels.py features [--rows 1000000] [--features 500] [--kind nystrom]
    python benchmarks/large_kernels.py solvers [--rows 20000] [--ridge 1e-4] [--solvers cholesky cg]

Inputs are standard normal in 20 dimensions, targets a sum of products and a sine of some, of variance one, and noise of
known variance; so an R² of 1 − noise/(1 + noise) is what can be had of noisy targets, and 1 of clean ones. Rows are
written to a file of the temporary folder, and read from there as a memory-mapped array.
"""

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

import mupi
from mupi.architecture.zoo import perceptron
from mupi.kernels import ConjugateGradients, NystromFeatures, PivotedCholesky, UniformLandmarks, feature_error

D = 20
NOISE = 0.1


@dataclass(frozen=True)
class Features:
    """Regression on features, in one pass over the rows.

    Attributes:
        rows: Rows to fit.
        features: How many features, or the width of the random network.
        kind: Nyström features with pivoted or uniform landmarks, or a random network's.
        kernel: The kernel of Nyström features.
        ridge: In units of the mean diagonal.
        sample: Rows on which the exact kernel is compared.
        seed: Of data and draws.
    """

    rows: int = 1_000_000
    features: int = 500
    kind: Literal["nystrom", "uniform", "random"] = "nystrom"
    kernel: Literal["nngp", "ntk"] = "nngp"
    ridge: float = 1e-6
    sample: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Solvers:
    """Cholesky against conjugate gradients.

    Attributes:
        rows: Rows to fit.
        ridge: In units of the mean diagonal.
        kernel: Which kernel.
        solvers: What to run.
        rank: Of the preconditioner.
        tolerance: Of the residual.
        memory: Bytes of tiles that are kept.
        seed: Of the data.
    """

    rows: int = 20_000
    ridge: float = 1e-4
    kernel: Literal["nngp", "ntk"] = "ntk"
    solvers: tuple[Literal["cholesky", "cg"], ...] = ("cg", "cholesky")
    rank: int = 500
    tolerance: float = 1e-4
    memory: int = 2**30
    seed: int = 0


def clean(X: np.ndarray) -> np.ndarray:
    """The function to learn, of variance about 1."""
    return 0.7 * X[:, 0] * X[:, 1] + 0.5 * X[:, 2] * np.abs(X[:, 3]) + 0.5 * np.sin(2 * X[:, 4]) + 0.3 * X[:, 5]


def write(path: Path, rows: int, seed: int) -> None:
    """Rows of inputs, batch by batch."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, D))
    for start in range(0, rows, 100_000):
        part = out[start : start + 100_000]
        part[:] = np.random.default_rng((seed, start)).standard_normal(part.shape, np.float32)
    out.flush()


def noisy(X: np.ndarray, seed: int) -> torch.Tensor:
    """Targets."""
    noise = np.random.default_rng((seed, 1)).standard_normal(len(X), np.float32)
    return torch.from_numpy((clean(X) + NOISE**0.5 * noise).astype(np.float32))


def peak() -> float:
    """Gigabytes of memory that were held at most, file pages that are mapped among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def r2(found: torch.Tensor, X: np.ndarray) -> float:
    """Of clean targets."""
    y = torch.from_numpy(clean(X)).double()
    return float(1 - (found.double().reshape(-1) - y).square().mean() / y.var())


def since(start: float, cpu: float) -> str:
    """Seconds by two clocks."""
    return f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} CPU s"


def with_features(config: tyro.conf.OmitArgPrefixes[Features]) -> None:
    """Print seconds, gigabytes and errors of one pass."""
    print(f"{config}\nbefore: {peak():.2f} GB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        write(path, config.rows, config.seed)
        X, new = np.load(path, mmap_mode="r"), np.random.default_rng(config.seed + 1).standard_normal((20_000, D), "f4")
        Y = noisy(X, config.seed)
        arch, draw = perceptron(D, 1, depth=2), torch.Generator().manual_seed(config.seed)
        kernel = arch.nngp(sigma_b=0.5) if config.kernel == "nngp" or config.kind == "random" else arch.ntk(sigma_b=0.5)
        start, cpu = time.perf_counter(), time.process_time()
        if config.kind == "random":
            features = arch.random_features(config.features, sigma_b=0.5, generator=draw)
        else:
            landmarks = UniformLandmarks() if config.kind == "uniform" else PivotedCholesky()
            features = NystromFeatures(kernel, X, config.features, landmarks, draw)
        print(f"features: {since(start, cpu)}", flush=True)
        start, cpu = time.perf_counter(), time.process_time()
        regression = mupi.FeatureRegression(config.ridge, features).fit(X, Y)
        print(
            f"fit: {time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} CPU s; {peak():.2f} GB",
            flush=True,
        )
        print(
            f"R² of clean targets, 20,000 new rows: {r2(regression.predict(torch.from_numpy(new)), new):.5f}",
            flush=True,
        )
        error = feature_error(features, kernel, X, Y, ridge=1e-3, rows=config.sample, generator=draw)
        print(f"{error}; {peak():.2f} GB at most", flush=True)
        small = mupi.KernelRegression(kernel, 1e-3).fit(X[: config.sample], Y[: config.sample])
        print(
            f"exact kernel on {config.sample} rows: R² {r2(small.predict(torch.from_numpy(new)), new):.5f}", flush=True
        )


def with_solvers(config: tyro.conf.OmitArgPrefixes[Solvers]) -> None:
    """Print seconds, gigabytes and errors of each solver."""
    print(config, flush=True)
    X = np.random.default_rng(config.seed).standard_normal((config.rows, D), np.float32)
    Y, arch = noisy(X, config.seed), perceptron(D, 1, depth=2)
    kernel = arch.nngp(sigma_b=0.5) if config.kernel == "nngp" else arch.ntk(sigma_b=0.5)
    new = np.random.default_rng(config.seed + 1).standard_normal((1000, D), np.float32)
    found = []
    for name in config.solvers:
        solver = ConjugateGradients(config.tolerance, config.rank, memory=config.memory) if name == "cg" else None
        start, cpu = time.perf_counter(), time.process_time()
        r = mupi.KernelRegression(kernel, config.ridge, solver).fit(X, Y)
        seconds = since(start, cpu)
        found.append(r.predict(torch.from_numpy(new)))
        print(
            f"{name}: {seconds}; {r.iterations} iterations, residual {r.residual:.1e}, rounding {r.rounding:.1e}; "
            f"{peak():.2f} GB so far; R² {r2(found[-1], new):.4f}", flush=True,
        )  # fmt: skip
    for other in found[1:]:
        print(f"predictions differ by {float((other - found[0]).norm() / found[0].norm()):.1e}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.extras.subcommand_cli_from_dict({"features": with_features, "solvers": with_solvers}, description=__doc__)
