"""Networks in training on their way to their limits: perceptron, residual net and transformer, by SGD and by Adam.

    python benchmarks/trained_limits.py [--networks residual transformer] [--optimizers sgd adam] [--steps 10]
    python benchmarks/trained_limits.py --networks perceptron --optimizers adam --digits 0 1 2 3 4 5 6 7 8 9 \
        --images 120 --steps 30 --adam-lr .02 --entries 4096 --tolerance .1 --single --seeds 6

Each network is a description. `MuLimit` takes the limit of its training on a few of the digits, full batch, with the
outputs ±1 of two classes, or one output ±1 for each of more; networks of growing width in μP (`Architecture.finite`)
take the same steps by torch's SGD or Adam. Of each step: the root mean square over networks, images and outputs of
f_n − f_∞ at each width, and its power of n, which is −½ if these are the limits of those. The limit's own standard
error is subtracted in squares; the last column is what it is beside the gap of the widest networks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mupi import MuLimit, Roles, Tanh
from mupi.architecture import Dense, Normalize, Reshape, Width, chain, describe, residual
from mupi.architecture.architecture import Architecture
from mupi.architecture.zoo import vit
from mupi.data import load
from mupi.mu import SGD, Adam
from mupi.statistics import PowerLaw

n = Width()
NORM = Normalize(gain=True, shift=True)
BLOCKS = [residual(NORM, Tanh(), Dense(n)) for _ in range(2)]
NETWORKS: dict[str, Callable[[int], Architecture]] = {
    "perceptron": lambda out: describe(
        (1, 8, 8), chain(Reshape((64,)), Dense(n), Tanh(), Dense(n), Tanh(), Dense(out))
    ),
    "residual": lambda out: describe((1, 8, 8), chain(Reshape((64,)), Dense(n), *BLOCKS, NORM, Tanh(), Dense(out))),
    "transformer": lambda out: vit((1, 8, 8), 4, out, depth=1, heads=2),
}
"""By their numbers of outputs."""
RATES = {("perceptron", "sgd"): 0.1, ("residual", "sgd"): 0.03, ("transformer", "sgd"): 0.03}


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes:
        networks: Which networks.
        optimizers: By what.
        digits: Which classes.
        images: How many, as many of each class; a transformer of four tokens takes a quarter of them.
        steps: T.
        widths: Of the finite networks.
        seeds: Networks of each width.
        samples: Samples of the limit by SGD, in each of four replicates.
        entries: Samples of the limit by Adam, which has as many numbers squared for each hidden matrix, thrice.
        adam_lr: Adam's learning rate.
        eps: Adam's ε, beside gradients in the units of the limit.
        tolerance: Of the limit: see `MuLimit`.
        single: Whether all is in float32.
        threads: Threads of torch.
    """

    networks: tuple[Literal["perceptron", "residual", "transformer"], ...] = ("perceptron", "residual", "transformer")
    optimizers: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
    digits: tuple[int, ...] = (3, 8)
    images: int = 16
    steps: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    seeds: int = 16
    samples: int = 8192
    entries: int = 3000
    adam_lr: float = 0.03
    eps: float = 0.01
    tolerance: float = 1e-3
    single: bool = False
    threads: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """Of all numbers."""
        return torch.float32 if self.single else torch.float64


BETAS = (0.9, 0.99)


def squares(f: Tensor, y: Tensor) -> Tensor:
    """Mean over images and outputs."""
    return (f - y).square().mean()


def epsilons(net: torch.nn.Module, arch: Architecture, eps: float, width: int) -> dict[int, float]:
    """ε of each parameter in units of its gradient: entries of ∂loss/∂w are n^{−½}, of hidden weights n^{−1}."""
    hidden = {node.name for i, node in enumerate(arch) if arch.role(i) == "hidden"}
    last = arch.nodes[-1].name
    powers = {}
    for name, p in net.named_parameters():
        owner, _, kind = name.rpartition(".")
        finite = owner == last and kind == "bias"
        powers[id(p)] = 0.0 if finite else -1.0 if owner in hidden and kind == "weight" else -0.5
    return {key: eps * width**power for key, power in powers.items()}


def trained(config: Config, name: str, optimizer: str, width: int, seed: int, x: Tensor, y: Tensor) -> Tensor:
    """Outputs (steps, images, outputs) of one network before each step, and after the last."""
    arch = NETWORKS[name](y.shape[1])
    generator = torch.Generator().manual_seed(1_000_000 * seed + width)
    net = arch.finite(width, generator=generator, dtype=config.dtype)
    if optimizer == "sgd":
        steps: torch.optim.Optimizer = torch.optim.SGD(net.parameter_groups(RATES[name, "sgd"]), momentum=0.5)
    else:
        ε = epsilons(net, arch, config.eps, width)
        groups = net.parameter_groups(config.adam_lr, rates=Roles.mup().adam_rates)
        split = [{**group, "params": [p], "eps": ε[id(p)]} for group in groups for p in group["params"]]
        steps = torch.optim.Adam(split, betas=BETAS)
    outputs = []
    for _ in range(config.steps):
        f = net(x)
        outputs.append(f.detach())
        steps.zero_grad()
        squares(f, y).backward()
        steps.step()
    return torch.stack([*outputs, net(x).detach()])


def images(config: Config, each: int) -> tuple[Tensor, Tensor]:
    """So many of each class, and their targets."""
    data, classes = load("digits"), len(config.digits)
    kept = [torch.nonzero(data.train_y == digit)[:each, 0] for digit in config.digits]
    x = data.train_x[torch.cat(kept)].to(config.dtype).unflatten(1, (1, 8, 8))
    if classes == 2:
        return x, torch.tensor([-1.0] * each + [1.0] * each, dtype=config.dtype)[:, None]
    return x, (2 * torch.eye(classes, dtype=config.dtype) - 1).repeat_interleave(each, 0)


def main(config: Config) -> None:
    """Train all, and print a table for each pair of network and optimizer."""
    torch.set_num_threads(config.threads)
    console = Console()
    marks = [t for t in range(config.steps + 1) if config.steps <= 12 or t in (1, 2, 5) or t % 10 == 0]
    for name in config.networks:
        x, y = images(config, config.images // len(config.digits) // (4 if name == "transformer" else 1))
        for optimizer in config.optimizers:
            start = time.process_time()
            rule = SGD(RATES[name, "sgd"], momentum=0.5) if optimizer == "sgd" else None
            rule = Adam(config.adam_lr, betas=BETAS, eps=config.eps) if rule is None else rule
            samples = config.samples if optimizer == "sgd" else config.entries
            generator = torch.Generator().manual_seed(0)
            limit = MuLimit(
                NETWORKS[name](y.shape[1]), optimizer=rule, loss=squares, samples=samples, tolerance=config.tolerance,
                generator=generator, dtype=config.dtype,
            )  # fmt: skip
            # The last outputs and their errors are those before one step more.
            limit.fit(x, y, config.steps + 1)
            seconds = time.process_time() - start
            exact, error = limit.outputs, limit.output_errors.square().mean((1, 2))
            gaps = {
                width: [
                    ((trained(config, name, optimizer, width, seed, x, y) - exact).square().mean((1, 2)) - error)
                    for seed in range(config.seeds)
                ]
                for width in config.widths
            }
            title = f"{name}, {optimizer}: limit of 4 × {samples:,} samples in {seconds:.0f} s, K {limit.ranks}"
            table = Table("step", "f_∞", *(f"n = {w:,}" for w in config.widths), "slope", "error of f_∞", title=title)
            for t in marks:
                at = [[max(float(seed[t]), 1e-30) ** 0.5 for seed in gaps[width]] for width in config.widths]
                law = PowerLaw("|f − f_∞|", name, config.widths, tuple(map(tuple, at)))
                sizes = (f"{(sum(g * g for g in group) / len(group)) ** 0.5:.4f}" for group in at)
                size = float(exact[t].square().mean().sqrt())
                own = float(error[t].sqrt()) / (sum(g * g for g in at[-1]) / len(at[-1])) ** 0.5
                table.add_row(str(t), f"{size:.3f}", *sizes, f"{law.slope:+.2f} ± {law.half_width:.2f}", f"{own:.0%}")
            console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
