"""`mupi convergence`: finite networks approach their limits at the rate 1/√width, at every step of training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import DataFolder, WrittenFolder
from mupi.commands.train.build import build_network, build_optimizer
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.presets import PRESETS
from mupi.commands.train.size import perceptron_bytes, projected_bytes
from mupi.commands.widths import doublings
from mupi.data import Dataset, DatasetName, load
from mupi.distributed.launched import launched
from mupi.distributed.processes import Processes
from mupi.distributed.turns import in_turn
from mupi.features import Atoms, RandomFeatures
from mupi.nets import MLP, PiMLP, sample
from mupi.recipes.widths.convergence_plots import plot_gaps, plot_losses
from mupi.recipes.widths.width_sweep import WidthSweep
from mupi.reports import Report
from mupi.training.lock import held_by_first

HELD_OUT = 200
"""Test images on which networks are compared."""


@dataclass(frozen=True, kw_only=True)
class ConvergenceConfig:
    """Train finite networks of many widths on the same images, and measure how they approach their limit.

    π-nets are sampled from the π-limit before its first step, and compared with it, the exact one, at every step. For
    μ-nets no limit is computed: the standard deviation of f over networks of one width is measured instead.
    """

    dataset: DatasetName = "digits"
    """The images; rates, clipping and multipliers are those of its presets."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    ranks: tuple[int, ...] = (2, 16, 100)
    """r, one sweep of π-nets each."""
    min_width: int = 64
    """The smallest width; each further one is twice as wide, and none is below the rank."""
    max_width: int = 2**14
    """The largest width of π-nets."""
    mu_max_width: int = 2**12
    """The largest width of μ-nets, whose cost grows with its square."""
    seeds: int = 4
    """Networks at each width."""
    steps: int = 20
    """Steps of SGD."""
    batch_size: int = 32
    """Images a step."""
    rate: float = 0.1
    """Multiplier of the presets' learning rates. At their full rates the first steps overshoot, and only very wide
    networks follow their limit through that."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/convergence")
    """Where `convergence.json`, `losses.png` and `gaps.png` are written."""

    def __post_init__(self):
        for name in ("min_width", "max_width", "mu_max_width", "seeds", "steps", "batch_size"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        non_negative("--rate", self.rate)
        for rank in self.ranks:
            positive_int("--ranks", rank)
        if self.seeds < 2:
            fail("--seeds", "at least 2", self.seeds)
        for name in ("max_width", "mu_max_width"):
            if getattr(self, name) < 2 * self.min_width:
                flag = f"--{name.replace('_', '-')}"
                fail(flag, f"at least twice --min-width, {2 * self.min_width}", getattr(self, name))
        for rank in self.ranks:
            if len(self.widths(rank)) < 2:
                fail("--ranks", f"such that two of the widths up to {self.max_width} are at least as large", rank)

    def widths(self, rank: int) -> list[int]:
        """Those of π-nets of a rank."""
        return [n for n in doublings(self.min_width, self.max_width) if n >= rank]


@dataclass(frozen=True)
class Trajectory:
    """What a network does while it is trained.

    Attributes:
        losses: The loss of each step's batch, before the step.
        outputs: f on held-out images before the first step and after each.
    """

    losses: Float[Tensor, " steps"]
    outputs: Float[Tensor, "steps_and_start images classes"]


def convergence(config: ConvergenceConfig) -> list[WidthSweep]:
    """Measure, print the fitted slopes, write JSON and figures.

    Processes that `torchrun` has started take the networks in turn.

    Returns:
        One sweep for each rank of π-nets, and one of μ-nets.

    Raises:
        ValueError: If another process writes into the folder.
        FloatingPointError: If a network diverges.
    """
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        return _convergence(config, Console(quiet=not processes.first), processes)


def _convergence(config: ConvergenceConfig, console: Console, processes: Processes) -> list[WidthSweep]:
    """`convergence` into a folder that is held."""
    set_threads(config.threads)
    data = load(config.dataset, config.data_dir)
    presets = PRESETS[config.dataset]
    mu_widths = doublings(config.min_width, config.mu_max_width)
    d, classes, depth = data.train_x.shape[1], len(data.classes), presets.mu_net.network.depth
    require_room("--mu-max-width", perceptron_bytes(d, mu_widths[-1], depth, classes))
    φ = presets.pi_limit.network.activation
    for rank in config.ranks:
        widest = RandomFeatures(config.widths(rank)[-1])
        require_room("--max-width", projected_bytes(d, rank, presets.pi_limit.network.depth, classes, widest, φ))
    limit, mu_net = (replace(p, lr=config.rate * p.lr) for p in (presets.pi_limit, presets.mu_net))
    pieces: dict[Network, str] = {}
    for rank in config.ranks:
        pieces[rank, None, 0] = f"π-limit, r = {rank}"
        for width in config.widths(rank):
            pieces |= {(rank, width, seed): f"π-net, r = {rank}, n = {width}" for seed in range(config.seeds)}
    for width in mu_widths:
        pieces |= {(None, width, seed): f"μ-net, n = {width}" for seed in range(config.seeds)}

    def trained(network: Network) -> Trajectory:
        rank, width, seed = network
        if rank is None:
            assert width is not None
            preset = mu_net.changed(width=width)
            return trajectory(build_network(preset, data, generator(width, seed)), preset, config, data)
        preset = limit.changed(features=Atoms(), rank=rank)
        start = build_network(preset, data, torch.Generator().manual_seed(0))
        drawn = start if width is None else sample(start, width, generator=generator(width, seed))
        return trajectory(drawn, preset, config, data)

    found = in_turn(processes, pieces, trained, console)
    sweeps = [pi_sweep(config, rank, found) for rank in config.ranks]
    sweeps.append(mu_sweep(config, mu_widths, found))
    if not processes.first:
        return sweeps
    report = Report("Networks of growing width on their way to a limit", plain_fields(config), console)
    report.table(table(sweeps, config))
    save(config, sweeps, report)
    return sweeps


Network = tuple[int | None, int | None, int]
"""Rank (None for a μ-net), width (None for the limit) and seed."""


def pi_sweep(config: ConvergenceConfig, rank: int, found: Mapping[Network, Trajectory]) -> WidthSweep:
    """π-nets of one rank against their π-limit."""
    limit = found[rank, None, 0]
    runs = [[found[rank, width, seed] for seed in range(config.seeds)] for width in config.widths(rank)]
    return WidthSweep(
        name=f"π-net, r = {rank}",
        quantity="|f − f∞|",
        widths=tuple(config.widths(rank)),
        losses=[[run.losses.tolist() for run in seeds] for seeds in runs],
        gaps=[[distance(run.outputs, limit.outputs) for run in seeds] for seeds in runs],
        limit=limit.losses.tolist(),
    )


def mu_sweep(config: ConvergenceConfig, widths: list[int], found: Mapping[Network, Trajectory]) -> WidthSweep:
    """μ-nets against the mean of those of their width."""
    runs = [[found[None, width, seed] for seed in range(config.seeds)] for width in widths]
    return WidthSweep(
        name="μ-net",
        quantity="s.d. of f",
        widths=tuple(widths),
        losses=[[run.losses.tolist() for run in seeds] for seeds in runs],
        gaps=[[spread_of(torch.stack([run.outputs for run in seeds]))] for seeds in runs],
    )


def trajectory(net: PiMLP | MLP, preset: TrainConfig, config: ConvergenceConfig, data: Dataset) -> Trajectory:
    """Train on the same batches as every other network.

    Raises:
        FloatingPointError: If the loss is not finite.
    """
    optimizer = build_optimizer(preset, net)
    held_out = data.test_x[:HELD_OUT]
    losses, outputs = [], [outputs_of(net, held_out)]
    for step, batch in enumerate(batches(len(data.train_x), config)):
        loss = cross_entropy(net(data.train_x[batch]), data.train_y[batch])
        if not loss.isfinite():
            raise FloatingPointError(f"the loss became {float(loss.detach())} in step {step + 1} of a convergence run")
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        outputs.append(outputs_of(net, held_out))
    return Trajectory(torch.stack(losses), torch.stack(outputs))


def generator(width: int, seed: int) -> torch.Generator:
    """Of its own for each network: the interval of a slope takes them as independent."""
    return torch.Generator().manual_seed(1000 * width + seed)


def batches(n: int, config: ConvergenceConfig) -> Iterator[Tensor]:
    """Index sets, all of one size, from one random order of the images after another."""
    order = torch.Generator().manual_seed(0)
    size, left = min(config.batch_size, n), torch.zeros(0, dtype=torch.int64)
    for _ in range(config.steps):
        if len(left) < size:
            left = torch.randperm(n, generator=order)
        batch, left = left[:size], left[size:]
        yield batch


@torch.no_grad()
def outputs_of(net: PiMLP | MLP, x: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
    """f(x)."""
    return net(x)


def distance(
    outputs: Float[Tensor, "steps images classes"], others: Float[Tensor, "steps images classes"]
) -> list[float]:
    """The root mean square of the difference at each step, over images and classes."""
    return (outputs - others).double().square().mean((1, 2)).sqrt().tolist()


def spread_of(outputs: Float[Tensor, "seeds steps images classes"]) -> list[float]:
    """The standard deviation over seeds at each step, the root mean square over images and classes.

    One number a width: distances of networks from their own mean depend on each other (those of two networks are
    equal), and an interval that took them as so many measurements would be too narrow.
    """
    return outputs.double().var(0).mean((1, 2)).sqrt().tolist()


def table(sweeps: list[WidthSweep], config: ConvergenceConfig) -> Table:
    """Fitted slopes: over all steps together, before the first, after the last; and their range over the steps."""
    title = f"{config.dataset}, {config.steps} steps of {config.batch_size} images, {config.seeds} networks a width"
    shown = Table("slope", "all steps", "start", "end", "range", title=title)
    shown.caption = (
        "of |f − f∞| for π-nets, of the standard deviation of f for μ-nets; in theory −0.5; ± is a 95 % confidence "
        "interval"
    )
    for sweep in sweeps:
        laws = sweep.laws
        slopes = [law.slope for law in laws]
        fits = [f"{law.slope:+.2f} ± {law.half_width:.2f}" for law in (sweep.overall, laws[0], laws[-1])]
        shown.add_row(sweep.name, *fits, f"{min(slopes):+.2f} … {max(slopes):+.2f}")
    return shown


def save(config: ConvergenceConfig, sweeps: list[WidthSweep], report: Report) -> None:
    """Write everything."""
    saved = {"config": plain_fields(config), "sweeps": [sweep.to_json() for sweep in sweeps]}
    report.json(config.out / "convergence.json", saved, indent=None)
    report.figure(config.out / "losses.png", plot_losses(sweeps))
    report.figure(config.out / "gaps.png", plot_gaps(sweeps), "Points: geometric means over seeds, with their range.")
    report.write(config.out)
