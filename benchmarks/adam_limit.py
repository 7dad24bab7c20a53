"""Adam's limit beside networks that torch's Adam trains, by the protocol of Littwin & Yang (2023).

    python benchmarks/adam_limit.py [--lr 0.2] [--samples 4096] [--pairs 3] [--out runs/adam-limit]

ReLU, two hidden layers without biases in μP, 100 Gaussian inputs in R^10, random scalar targets, squared loss, full
batch, β = (.9, .99), ε = 10⁻⁴ beside gradients in the units of the limit; networks have their output at the start
subtracted (it goes to 0). In these units the rate of every parameter is lr: entries of hidden matrices move by lr/n.
What is measured is said in `limit_comparison`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from torch import Tensor

from limit_comparison import Sizes, report, trained
from mupi import MuLimit, ReLU, Roles
from mupi.architecture.zoo import perceptron
from mupi.mu import Adam


@dataclass(frozen=True)
class Config(Sizes):
    """What to train.

    Attributes:
        inputs: How many inputs.
        dim: Their dimension.
        steps: T.
        lr: The learning rate, in the units of the limit.
        eps: ε, in these units.
    """

    inputs: int = 100
    dim: int = 10
    steps: int = 100
    lr: float = 0.2
    eps: float = 1e-4
    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096)
    seeds: int = 10
    samples: int = 4096
    pairs: int = 3
    tolerance: float = 0.2
    coarse: float = 0.0
    out: Path = Path("runs/adam-limit")
    figure: Path | None = None
    threads: int = 1


BETAS = (0.9, 0.99)


def squares(f: Tensor, y: Tensor) -> Tensor:
    """Mean over the inputs."""
    return (f - y).square().mean()


def data(config: Config) -> tuple[Tensor, Tensor]:
    """Inputs and targets."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(config.inputs, config.dim, generator=generator, dtype=torch.float64)
    return x, torch.randn(config.inputs, 1, generator=generator, dtype=torch.float64)


def network(config: Config, width: int, seed: int) -> Tensor:
    """Outputs (steps, inputs) of a network in float32, before each step, less those at the start."""
    x, y = (v.float() for v in data(config))
    generator = torch.Generator().manual_seed(1_000_000 * seed + width)
    net = perceptron(config.dim, 1, 2, ReLU(), bias=False).finite(width, generator=generator, dtype=torch.float32)
    groups = net.parameter_groups(config.lr, rates=Roles.mup().adam_rates)
    # Entries of ∂loss/∂W are n^−1 in size, those of the first and the last weight n^−½.
    powers = {id(p): -1.0 if p.shape == (width, width) else -0.5 for p in net.parameters()}
    split = [{**g, "params": [p], "eps": config.eps * width ** powers[id(p)]} for g in groups for p in g["params"]]
    optimizer = torch.optim.Adam(split, betas=BETAS, fused=True)
    with torch.no_grad():
        start = net(x)
    outputs = []
    for _ in range(config.steps):
        f = net(x) - start
        outputs.append(f.detach()[:, 0].double())
        optimizer.zero_grad()
        squares(f, y).backward()
        optimizer.step()
    return torch.stack(outputs)


def limit(config: Config, tolerance: float, seed: int) -> MuLimit:
    """Two replicates, in float32."""
    return MuLimit(
        perceptron(config.dim, 1, 2, ReLU(), bias=False),
        optimizer=Adam(config.lr, betas=BETAS, eps=config.eps),
        loss=squares,
        samples=config.samples,
        replicates=2,
        tolerance=tolerance,
        copies=config.copies,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float32,
    )


def main(config: Config) -> None:
    """Train what is missing, and compare."""
    torch.set_num_threads(config.threads)
    x, y = data(config)
    settings = {name: asdict(config)[name] for name in ("inputs", "dim", "steps", "lr", "eps")}
    found = trained(
        config,
        settings,
        config.steps,
        lambda width, seed: network(config, width, seed),
        lambda tolerance, seed: limit(config, tolerance, seed),
        lambda at, _: at.step(x, y)[0][..., 0],
        Console(),
    )
    marks = [t for t in (1, 3, 10, 15, 20, 30, 50, 70, 99) if t < config.steps]
    report(config, f"Adam, rate {config.lr:g}", marks, lambda f: (f - y[:, 0]).square().mean(-1), found)


if __name__ == "__main__":
    main(tyro.cli(Config))
