"""Networks in training on their way to their limits: perceptron, residual net and transformer, by SGD and by Adam.

    python benchmarks/trained_limits.py [--networks residual transformer] [--optimizers sgd adam] [--steps 10]

Each network is a description. `MuLimit` takes the limit of its training on a few of the digits with the outputs ±1 of
two classes, full batch; networks of growing width in μP (`Architecture.finite`) take the same steps by torch's SGD or
Adam. Of each step: the root mean square over networks and images of f_n − f_∞ at each width, and its power of n, which
is −½ if these are the limits of those. The limit's own standard error is subtracted in squares; the last column is what
it is beside the gap of the widest networks.
"""

import time
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
NETWORKS: dict[str, Architecture] = {
    "perceptron": describe((1, 8, 8), chain(Reshape((64,)), Dense(n), Tanh(), Dense(n), Tanh(), Dense(1))),
    "residual": describe(
        (1, 8, 8),
        chain(Reshape((64,)), Dense(n), *(residual(NORM, Tanh(), Dense(n)) for _ in range(2)), NORM, Tanh(), Dense(1)),
    ),
    "transformer": vit((1, 8, 8), 4, 1, depth=1, heads=2),
}
RATES = {("perceptron", "sgd"): 0.1, ("residual", "sgd"): 0.03, ("transformer", "sgd"): 0.03}


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes:
        networks: Which networks.
        optimizers: By what.
        images: Digits 3 and 8, as many of each; a transformer of four tokens takes a quarter of them.
        steps: T.
        widths: Of the finite networks.
        seeds: Networks of each width.
        samples: Samples of the limit by SGD, in each of four replicates.
        entries: Samples of the limit by Adam, which has as many numbers squared for each hidden matrix, thrice.
        adam_lr: Adam's learning rate.
        eps: Adam's ε, beside gradients in the units of the limit.
        threads: Threads of torch.
    """

    networks: tuple[Literal["perceptron", "residual", "transformer"], ...] = ("perceptron", "residual", "transformer")
    optimizers: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
    images: int = 16
    steps: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    seeds: int = 16
    samples: int = 8192
    entries: int = 3000
    adam_lr: float = 0.03
    eps: float = 0.01
    threads: int = 1


BETAS = (0.9, 0.99)


def squares(f: Tensor, y: Tensor) -> Tensor:
    """Mean over the images."""
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
    """Outputs of one network before each step, and after the last."""
    arch = NETWORKS[name]
    generator = torch.Generator().manual_seed(1_000_000 * seed + width)
    net = arch.finite(width, generator=generator, dtype=torch.float64)
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
    return torch.stack([*outputs, net(x).detach()])[..., 0]


def main(config: Config) -> None:
    """Train all, and print a table for each pair of network and optimizer."""
    torch.set_num_threads(config.threads)
    console, data = Console(), load("digits")
    for name in config.networks:
        each = config.images // (8 if name == "transformer" else 2)
        kept = [torch.nonzero(data.train_y == digit)[:each, 0] for digit in (3, 8)]
        x = data.train_x[torch.cat(kept)].double().unflatten(1, (1, 8, 8))
        y = torch.tensor([-1.0] * each + [1.0] * each, dtype=torch.float64)[:, None]
        for optimizer in config.optimizers:
            start = time.process_time()
            rule = SGD(RATES[name, "sgd"], momentum=0.5) if optimizer == "sgd" else None
            rule = Adam(config.adam_lr, betas=BETAS, eps=config.eps) if rule is None else rule
            samples = config.samples if optimizer == "sgd" else config.entries
            generator = torch.Generator().manual_seed(0)
            limit = MuLimit(NETWORKS[name], optimizer=rule, loss=squares, samples=samples, generator=generator)
            # The last outputs and their errors are those before one step more.
            limit.fit(x, y, config.steps + 1)
            seconds = time.process_time() - start
            exact, error = limit.outputs[..., 0], limit.output_errors.square().mean((1, 2))
            gaps = {
                width: [
                    ((trained(config, name, optimizer, width, seed, x, y) - exact).square().mean(1) - error)
                    for seed in range(config.seeds)
                ]
                for width in config.widths
            }
            title = f"{name}, {optimizer}: limit of 4 × {samples:,} samples in {seconds:.0f} s, K {limit.ranks}"
            table = Table("step", "f_∞", *(f"n = {w:,}" for w in config.widths), "slope", "error of f_∞", title=title)
            for t in range(config.steps + 1):
                at = [[max(float(seed[t]), 1e-30) ** 0.5 for seed in gaps[width]] for width in config.widths]
                law = PowerLaw("|f − f_∞|", name, config.widths, tuple(map(tuple, at)))
                sizes = (f"{(sum(g * g for g in group) / len(group)) ** 0.5:.4f}" for group in at)
                size = float(exact[t].square().mean().sqrt())
                own = float(error[t].sqrt()) / (sum(g * g for g in at[-1]) / len(at[-1])) ** 0.5
                table.add_row(str(t), f"{size:.3f}", *sizes, f"{law.slope:+.2f} ± {law.half_width:.2f}", f"{own:.0%}")
            console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
