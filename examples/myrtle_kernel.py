"""The tangent kernel of a five-layer network with average pooling on CIFAR-10, a tile at a time.

The network is that of Shankar et al. (Neural kernels without tangents, 2020): 3 × 3 convolutions and ReLUs, two of them
and one after each of two 2 × 2 averages, then the average of what is left. Its kernel holds covariances between all
pairs of positions, so that an entry costs as (size²)²: `--size` averages images to fewer pixels. Tiles are kept in
`--out`, so that a run that is stopped goes on. The ridge is chosen on a fifth of the training images.

    python examples/myrtle_kernel.py --train 1000 --test 1000 --size 8
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import mupi
from mupi.architecture.zoo import cnn
from mupi.data import load

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def images(x: torch.Tensor, shape: tuple[int, int, int], size: int) -> torch.Tensor:
    """Blocks of pixels averaged, each image centred and of norm √d."""
    x = torch.nn.functional.adaptive_avg_pool2d(x.reshape(-1, *shape), size).flatten(1)
    x = x - x.mean(1, keepdim=True)
    return x / x.square().mean(1, keepdim=True).sqrt()


def kernel_in_tiles(kernel, x1: torch.Tensor, x2: torch.Tensor, tile: int, folder: Path) -> torch.Tensor:
    """k(x1, x2), each tile written when it is done; of samples with themselves the tiles below the diagonal only."""
    folder.mkdir(parents=True, exist_ok=True)
    out, symmetric, entries, seconds = torch.zeros(len(x1), len(x2)), x1 is x2, 0, 0.0
    for i in range(0, len(x1), tile):
        for j in range(0, i + 1 if symmetric else len(x2), tile):
            path, rows, columns = folder / f"{i}-{j}.npy", slice(i, i + tile), slice(j, j + tile)
            if not path.exists():
                start = time.process_time()
                # Samples with themselves are one argument, of which kernels compute half.
                part = kernel(x1[rows], None if symmetric and i == j else x2[columns])
                seconds += time.process_time() - start
                entries += part.numel() // (2 if symmetric and i == j else 1)
                partial = path.with_suffix(".partial.npy")
                np.save(partial, part.numpy())
                partial.replace(path)
            part = torch.from_numpy(np.load(path))
            out[rows, columns] = part
            if symmetric:
                out[columns, rows] = part.T
    if entries:
        print(f"{folder.name}: {entries:,} entries, {1000 * seconds / entries:.3g} ms of CPU each")
    return out


class Rows:
    """A kernel matrix as a kernel of row numbers, so that what is stored is not computed again."""

    def __init__(self, matrix: torch.Tensor):
        self.matrix = matrix

    def __call__(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Rows and columns by number."""
        return self.matrix[x1[:, 0].long()][:, x2[:, 0].long()]


def accuracy(K: torch.Tensor, cross: torch.Tensor, y: torch.Tensor, new: torch.Tensor, ridge: float) -> float:
    """Of regression on the classes, from k(X, X) and k(new, X); in float64."""
    n, m = len(K), len(cross)
    square = torch.zeros(n + m, n + m, dtype=torch.float64)
    square[:n, :n], square[n:, :n] = K, cross
    numbers = torch.arange(n + m, dtype=torch.float64)[:, None]
    fitted = mupi.KernelRegression(Rows(square), ridge).fit(numbers[:n], y, classes=10)
    return fitted.score(numbers[n:], new)


def main() -> None:
    """Compute, choose the ridge, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10", choices=["cifar10", "digits"])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--size", type=int, default=8, help="pixels of a side; CIFAR-10 has 32")
    parser.add_argument("--tile", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/myrtle-kernel"))
    args = parser.parse_args()
    data = load(args.dataset)
    shape = (3, 32, 32) if args.dataset == "cifar10" else (1, 8, 8)
    chosen = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(0))[: args.train]
    x, y = images(data.train_x[chosen], shape, args.size), data.train_y[chosen]
    new, labels = images(data.test_x[: args.test], shape, args.size), data.test_y[: args.test]
    kernel = cnn((shape[0], args.size, args.size), 10, depth=4, pools=(1, 2, 2), bias=False).ntk(2**0.5)
    folder = args.out / f"{args.dataset}-{args.size}-{args.tile}"
    # What is stored depends on the number of training images too, where the last tile is not full.
    K = kernel_in_tiles(kernel, x, x, args.tile, folder / f"train-{args.train}")
    held = max(1, len(x) // 5)
    fit, rest = slice(held, None), slice(0, held)
    scores = {ridge: accuracy(K[fit, fit], K[rest, fit], y[fit], y[rest], ridge) for ridge in RIDGES}
    best = max(RIDGES, key=lambda ridge: scores[ridge])
    print("held out: " + ", ".join(f"{ridge:g}: {100 * score:.1f} %" for ridge, score in scores.items()))
    cross = kernel_in_tiles(kernel, new, x, args.tile, folder / f"test-{args.train}-{args.test}")
    right = accuracy(K, cross, y, labels, best)
    error = 196 * (right * (1 - right) / len(labels)) ** 0.5
    print(f"tested: {100 * right:.1f} ± {error:.1f} % of {len(labels)} images, {len(x)} to learn from, ridge {best:g}")


if __name__ == "__main__":
    main()
