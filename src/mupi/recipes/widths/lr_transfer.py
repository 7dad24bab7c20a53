"""`mupi lr-transfer`: the best learning rate over widths, stable in μP and drifting in SP."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import one_hot

from mupi.activations import Activation, Tanh
from mupi.checks import fail, positive_int
from mupi.commands.chosen import PARAMETRIZATIONS, Chosen, MuP, Named, Standard
from mupi.commands.coordcheck import preserving_std
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import DataFolder, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.size import perceptron_bytes
from mupi.data import DatasetName, load
from mupi.distributed.launched import launched
from mupi.distributed.processes import Processes
from mupi.distributed.turns import in_turn
from mupi.nets import MLP
from mupi.optim import SGD
from mupi.parametrization import Parametrization
from mupi.recipes.widths.lr_sweep import LrSweep
from mupi.recipes.widths.lr_transfer_plots import plot_lr_transfer
from mupi.reports import Report
from mupi.statistics import number
from mupi.training.lock import held_by_first


@dataclass(frozen=True, kw_only=True)
class LrTransferConfig(Chosen):
    """Train networks of several widths at many learning rates, and see where the best one is; SP and μP by default.

    On the squared error to one-hot labels. Its curvature sets a largest learning rate, which SP's makes fall with
    width; with cross-entropy training recovers from rates that are too large, and SP drifts less.
    """

    parametrizations: Annotated[tuple[Named, ...], PARAMETRIZATIONS] = (Standard(), MuP())
    """Parametrizations to compare."""
    dataset: DatasetName = "digits"
    """The images."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    train_size: int | None = None
    """Train on a random subset of this many images; None for all."""
    activation: Activation = Tanh()
    """φ."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """The values of n."""
    log2_lr: tuple[int, int] = (-10, 1)
    """Learning rates are the powers of two from the first to the second exponent."""
    seeds: int = 2
    """Networks at each width and learning rate."""
    epochs: int = 3
    """Passes over the training images."""
    batch_size: int = 64
    """Images a step."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/lr-transfer")
    """Where `lr_transfer.json` and `lr_transfer.png` are written."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("seeds", "epochs", "batch_size"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        for width in self.widths:
            positive_int("--widths", width)
        if len(set(self.widths)) < 2:
            fail("--widths", "at least two different widths", self.widths)
        if self.log2_lr[1] < self.log2_lr[0] + 2:
            fail("--log2-lr", "two exponents with at least two steps from one to the other", self.log2_lr)


def lr_transfer(config: LrTransferConfig) -> dict[str, LrSweep]:
    """Sweep the learning rate for each parametrization; print the best ones, and write figure and JSON.

    Processes that `torchrun` has started take the networks in turn.

    Returns:
        The losses, by the parametrization's name.

    Raises:
        ValueError: If another process writes into the folder.
        FloatingPointError: If at some width training diverges at every learning rate.
    """
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        return _lr_transfer(config, Console(quiet=not processes.first), processes)


def _lr_transfer(config: LrTransferConfig, console: Console, processes: Processes) -> dict[str, LrSweep]:
    """`lr_transfer` into a folder that is held."""
    set_threads(config.threads)
    data = load(config.dataset, config.data_dir)
    if config.train_size is not None:
        data = data.take(config.train_size, torch.Generator().manual_seed(0))
    x, targets = data.train_x, one_hot(data.train_y, len(data.classes)).to(data.train_x)
    require_room("--widths", perceptron_bytes(x.shape[1], max(config.widths), config.depth, targets.shape[1]))
    low, high = config.log2_lr
    lrs = tuple(2.0**k for k in range(low, high + 1))
    chosen = config.by_name()

    pieces = {
        (name, width, lr, seed): f"{name}, width {width}, η = {lr:.4g}"
        for name in chosen
        for width in config.widths
        for lr in lrs
        for seed in range(config.seeds)
    }

    def loss(piece: tuple[str, int, float, int]) -> float:
        name, width, lr, seed = piece
        return final_loss(config, chosen[name], width, lr, x, targets, torch.Generator().manual_seed(seed))

    found = in_turn(processes, pieces, loss, console)
    sweeps = {
        name: LrSweep(
            config.widths,
            lrs,
            tuple(
                tuple(tuple(found[name, width, lr, seed] for seed in range(config.seeds)) for lr in lrs)
                for width in config.widths
            ),
        )
        for name in chosen
    }
    for name, sweep in sweeps.items():
        for i, width in enumerate(sweep.widths):
            if not math.isfinite(min(sweep.mean(i))):
                raise FloatingPointError(f"{name} of width {width} diverges at every learning rate; lower --log2-lr")
    if processes.first:
        report(config, sweeps, Report("The best learning rate by width", plain_fields(config), console))
    return sweeps


def report(config: LrTransferConfig, sweeps: dict[str, LrSweep], page: Report) -> None:
    """Print the best learning rate of each width; write JSON, figure and page."""
    table = Table("best learning rate", *(f"n = {n}" for n in config.widths), "∝ n^")
    for name, sweep in sweeps.items():
        best = [sweep.best_lr(i) for i in range(len(sweep.widths))]
        half = "" if config.seeds == 1 else f" ± {sweep.drift_half_width:.2f}"
        table.add_row(name, *(f"{lr:.3g}" for lr in best), f"{sweep.drift:+.2f}{half}")
    page.table(table)
    settings = plain_fields(config)
    results = {
        name: {
            "best_lr": [sweep.best_lr(i) for i in range(len(sweep.widths))],
            "drift": sweep.drift,
            "drift_half_width": number(sweep.drift_half_width),
            "lrs": sweep.lrs,
            # JSON has no infinity: None where training diverged.
            "losses": [[[number(x) for x in s] for s in at] for at in sweep.losses],
        }
        for name, sweep in sweeps.items()
    }
    page.json(config.out / "lr_transfer.json", {"config": settings, "sweeps": results})
    page.figure(config.out / "lr_transfer.png", plot_lr_transfer(sweeps))
    page.write(config.out)


def final_loss(
    config: LrTransferConfig,
    p: Parametrization,
    width: int,
    lr: float,
    x: Float[Tensor, "n d"],
    targets: Float[Tensor, "n classes"],
    generator: torch.Generator,
) -> float:
    """The loss on all training images after training; infinite if it diverges."""
    φ = config.activation
    net = MLP(
        x.shape[1],
        targets.shape[1],
        width,
        p.depth,
        parametrization=p,
        activation=φ,
        sigma_w=preserving_std(φ),
        generator=generator,
    )
    optimizer = SGD(net.parameter_groups(lr))
    for _ in range(config.epochs):
        for batch in torch.randperm(len(x), generator=generator).split(config.batch_size):
            loss = squared_error(net(x[batch]), targets[batch])
            # Far above any start: it will not come back, and need not be followed until it overflows.
            if not loss < 1e6:
                return math.inf
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        loss = float(squared_error(net(x), targets))
    return loss if loss < 1e6 else math.inf


def squared_error(f: Float[Tensor, "n classes"], targets: Float[Tensor, "n classes"]) -> Float[Tensor, ""]:
    """Σ over classes, mean over images."""
    return (f - targets).square().sum(1).mean()
