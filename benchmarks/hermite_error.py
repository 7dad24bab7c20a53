"""Error of `Hermite` against the exact kernel, on the atoms of an exact training run on CIFAR-10.

    python benchmarks/hermite_error.py [--rank 400] [--depth 2] [--epochs 2] [--subspaces 40 100 400]

Trains a ReLU net with `Atoms`; then, for each weight and truncation, compares Σ_m c_m a_m κ_K(b_m, g) with the exact
sum on test images: relative L2 error of the output, and of the gradient for Gaussian δ, that is, of the
whole Jacobian. The directions of a subspace
are the right singular vectors of ḡ on training images.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import mupi
from mupi.data import load
from mupi.features import Expansion, exact_input_gradient, exact_sum
from mupi.layers import relative_error


@dataclass(frozen=True)
class Config:
    """What to train and to compare.

    Attributes:
        data_dir: Where CIFAR-10 is; None for the usual places.
        images: Training images.
        rank: r.
        depth: L.
        epochs: Passes over the images.
        batch: Images a step.
        subspaces: Numbers of directions for degree 2; the rank itself is degree 2 in full.
        test_images: On how many test images errors are taken.
        seed: Of the network and the order of images.
        threads: Threads of torch.
    """

    data_dir: Path | None = None
    images: int = 6000
    rank: int = 400
    depth: int = 2
    epochs: int = 2
    batch: int = 32
    subspaces: tuple[int, ...] = (40, 100, 400)
    test_images: int = 500
    seed: int = 0
    threads: int = 1


def truncated_sum(
    activation: mupi.Activation,
    atoms: Expansion,
    g: Float[Tensor, "n r"],
    directions: dict[int, Float[Tensor, "r _"] | None],
) -> Float[Tensor, "n rank_out"]:
    """Σ_m c_m a_m Σ_k c_k(|b_m|) c_k(|g|) ⟨P_kᵀ b̄_m, P_kᵀ ḡ⟩^k over the given degrees; P_k = None is the identity."""
    size_g, size_b = g.norm(dim=1, keepdim=True), atoms.b.norm(dim=1, keepdim=True)
    kernel = torch.zeros(len(g), len(atoms), dtype=g.dtype)
    for k, p in directions.items():
        u, v = (g / size_g, atoms.b / size_b) if p is None else (g / size_g @ p, atoms.b / size_b @ p)
        kernel = kernel + activation.hermite(k, size_g) * activation.hermite(k, size_b).T * (u @ v.T) ** k
    return kernel @ (atoms.c[:, None] * atoms.a)


def train(config: Config, x: Float[Tensor, "n d"], y: Tensor) -> mupi.PiMLP:
    """The exact net."""
    generator = torch.Generator().manual_seed(config.seed)
    net = mupi.PiMLP(
        x.shape[1],
        10,
        config.rank,
        config.depth,
        features=mupi.Atoms(),
        readout_std=1 / config.rank,
        generator=generator,
    )
    groups = net.parameter_groups(lr=1.0, first=0.1, last=4.0, bias=0.5, weight_decay=1e-5)
    optimizer = mupi.SGD(groups, clip=0.4)
    batches = [b for _ in range(config.epochs) for b in torch.randperm(len(x), generator=generator).split(config.batch)]
    for batch in track(batches, "exact training"):
        cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net


def main(config: Config) -> None:
    """Train, then print one row per truncation."""
    torch.set_num_threads(config.threads)
    data = load("cifar10", config.data_dir)
    train_x, train_y = data.train_x[: config.images], data.train_y[: config.images]
    test_x = data.test_x[: config.test_images]
    net = train(config, train_x, train_y)
    with torch.no_grad():
        hidden, seen = net.hidden(test_x), net.hidden(train_x[:2048])
    noise = torch.Generator().manual_seed(0)
    deltas = [torch.randn(len(test_x), layer.weight.rank_out, generator=noise) for layer in net.pi_layers]

    cases: dict[str, tuple[int, dict[int, int]]] = {f"degree ≤ {k}": (k, {}) for k in (1, 2, 4)}
    cases |= {f"degree ≤ 2, p = {p}": (2, {2: p}) for p in config.subspaces if p < config.rank}
    cases["degree ≤ 2, and degree 4 in 20 directions"] = (4, {4: 20})
    table = Table(title=f"r = {config.rank}, L = {config.depth}, {net.readout.weight.num_atoms:,} atoms a layer")
    for column in ("truncation", *(f"layer {i + 1}" for i in range(config.depth - 1)), "readout"):
        table.add_column(column)
    for name, (degree, subspaces) in cases.items():
        row = [name]
        for layer, g, inputs, delta in zip(net.pi_layers, hidden, seen, deltas, strict=True):
            weight = layer.weight
            atoms, activation = weight.sample_atoms(), weight.activation
            assert atoms is not None
            basis = torch.linalg.svd(normalize(inputs), full_matrices=False).Vh.T
            degrees = [k for k in range(degree + 1) if activation.has_degree(k)]
            directions = {k: basis[:, : subspaces[k]] if k in subspaces else None for k in degrees}
            exact = exact_sum(activation, [atoms], g, weight.rank_out)
            exact_gradient = exact_input_gradient(activation, [atoms], g, delta)
            g = g.clone().requires_grad_()
            near = truncated_sum(activation, atoms, g, directions)
            (gradient,) = torch.autograd.grad(near, g, delta)
            row.append(f"{relative_error(near.detach(), exact):.4f} / {relative_error(gradient, exact_gradient):.4f}")
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
