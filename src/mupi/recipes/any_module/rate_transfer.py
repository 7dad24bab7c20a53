"""`mupi recipe rate-transfer`: a rate that is tuned at width n and moved to 16 n, in μP and beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from mupi.checks import fail, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import DataFolder, Within, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.distributed.launched import launched
from mupi.figures.names import called
from mupi.figures.rate_sweep import plot_rate_sweeps
from mupi.mup.rate_sweep import RateSweep, TransferVerdict
from mupi.mup.sweep import Procedure
from mupi.mup.transfer_check import sweep_rates
from mupi.recipes.any_module.tasks import Task, image_task, text_task
from mupi.recipes.any_module.ways import OptimizerName, Way, builder, microsoft_is_there
from mupi.reports import Report
from mupi.training.lock import held_by_first
from mupi.training.settings import plain

NetworkName = Literal["mlp", "cnn-norm", "resnet", "vit", "gpt"]

CONVOLUTIONS = ("cnn-norm", "resnet")
"""Networks whose hidden weights torch.optim.Muon refuses, as they have more than two axes."""

CENTERS: dict[str, dict[str, int]] = {
    "sgd": {"mlp": -2, "cnn-norm": -1, "resnet": -1, "vit": -2, "gpt": 0},
    "adamw": {"mlp": -7, "cnn-norm": -6, "resnet": -7, "vit": -7, "gpt": -6},
    "muon": {"mlp": -4, "vit": -4, "gpt": -4},
}
"""Base-2 logarithms of rates that are about right at width 16."""

FARTHEST = 12
"""Octaves from the center beyond which no rate is tried."""

WORDS = {
    TransferVerdict.TRANSFERS: "yes",
    TransferVerdict.FAILS: "no",
    TransferVerdict.UNDECIDED: "undecided",
    TransferVerdict.WIDEN: "widen",
}


@dataclass(frozen=True, kw_only=True)
class RateTransferConfig:
    """Tune the learning rate of networks of ordinary modules at a width, and at a multiple of it.

    Every run is kept in the folder as soon as it ends; a second call trains only those that are missing.
    """

    networks: tuple[NetworkName, ...] = ("mlp", "cnn-norm", "resnet", "vit", "gpt")
    """A perceptron, a CNN with LayerNorm, a pre-activation ResNet and a ViT on images, a GPT on characters."""
    optimizers: tuple[OptimizerName, ...] = ("sgd", "adamw", "muon")
    """Muon moves hidden matrices, AdamW all else at an eighth of its rate; convolutions' filters are no matrices, and
    their networks are left out."""
    ways: tuple[Way, ...] = ("mup", "standard", "microsoft")
    """μP of mupi, the network as it comes, and microsoft/mup if it is installed."""
    dataset: Literal["digits", "cifar10"] = "digits"
    """The images."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    text: Path | None = None
    """The text, also as .xz; None for Python's own documentation."""
    width: int = 16
    """n, at which rates are tuned."""
    times: Annotated[int, Within(2)] = 16
    """How many times wider the wide networks are."""
    steps: int = 120
    """Of each run."""
    batch_size: int = 32
    """Images or pieces of text a step."""
    seeds: int = 3
    """Runs at each width and rate."""
    span: int = 2
    """How many octaves rates go at first to both sides of those that are about right, in steps of one; where the best
    one of a width is at an edge, two octaves more are tried there, up to twelve from the middle."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/rate-transfer")
    """Where runs, `rate_transfer.json` and `rate_transfer.png` are kept."""

    def __post_init__(self):
        for name in ("width", "steps", "batch_size", "seeds", "span"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        if self.width % 4 and {"vit", "gpt"} & set(self.networks):
            fail("--width", "a multiple of 4, the number of heads", self.width)
        if self.text is not None and not self.text.is_file():
            fail("--text", "a file", f"`{self.text}`")
        for name in ("networks", "optimizers", "ways"):
            chosen = getattr(self, name)
            if not chosen or len(set(chosen)) < len(chosen):
                fail(f"--{name}", "at least one, each once", " ".join(chosen) or "none")
        if self.optimizers == ("muon",) and set(self.networks) <= set(CONVOLUTIONS):
            fail("--optimizers", "sgd or adamw for convolutions", "muon", "its matrices have two axes")


def rate_transfer(config: RateTransferConfig) -> dict[str, RateSweep]:
    """Train what is not kept yet; print a table, and write figure and JSON.

    Processes that `torchrun` has started take the runs in turn, in a folder that all see.

    Returns:
        By network, optimizer and way.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which loses the run in training only.
        ValueError: If the folder has runs of other settings, or another process writes into it.
    """
    set_threads(config.threads)
    found: dict[str, RateSweep] = {}
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        console, shared = Console(quiet=not processes.first), processes.together is not None
        for network in config.networks:
            task = task_of(config, network)
            for optimizer in config.optimizers:
                for way in config.ways:
                    if way == "microsoft" and (optimizer == "muon" or not microsoft_is_there()):
                        continue
                    if optimizer == "muon" and network in CONVOLUTIONS:
                        continue
                    name = f"{network}, {optimizer}, {way}"
                    console.print(f"{name} …", highlight=False)
                    found[name] = swept(config, task, network, optimizer, way, console, shared)
        if not processes.first:
            return found
        report = Report("Learning rates across widths", plain_fields(config), console)
        report.table(table(config, found))
        saved = {"config": plain_fields(config), "sweeps": {k: s.to_json() for k, s in found.items()}}
        report.json(config.out / "rate_transfer.json", saved, indent=None)
        figure = plot_rate_sweeps({titled(name): sweep.panel for name, sweep in found.items()})
        report.figure(config.out / "rate_transfer.png", figure)
        report.write(config.out)
    return found


def task_of(config: RateTransferConfig, network: str) -> Task:
    """The network and its data.

    Args:
        config: Where the data are.
        network: Name of the network.
    """
    return text_task("gpt", config.text) if network == "gpt" else image_task(network, config.dataset, config.data_dir)


def swept(
    config: RateTransferConfig,
    task: Task,
    network: str,
    optimizer: OptimizerName,
    way: Way,
    console: Console,
    shared: bool = False,
) -> RateSweep:
    """One panel.

    Args:
        config: The settings.
        task: The network and its data.
        network: Name of the network.
        optimizer: Name of the optimizer.
        way: How settings go to the wide network.
        console: Where to show progress.
        shared: Whether the processes of a group take the runs in turn.
    """
    widths = (config.width, config.times * config.width)
    procedure = Procedure(
        builder=builder(way, optimizer, task.make_model, widths[0], widths[1], task.x[:1]),
        x=task.x,
        y=task.y,
        loss=task.loss,
        steps=config.steps,
        batch_size=config.batch_size,
    )

    def train(width: int, rate: float, seed: int) -> float:
        losses = procedure.run(width, rate, seed, order=seed)
        last = losses[-max(1, config.steps // 10) :]
        return sum(last) / len(last)

    center = CENTERS[optimizer][network]
    known: dict[str, Any] = {**procedure.plain(), "network": network, "optimizer": optimizer, "way": way,
                             "base": config.width, "torch": torch.__version__.split("+")[0]}  # fmt: skip
    below = above = config.span
    while True:
        sweep = sweep_rates(
            train,
            widths,
            [2.0**k for k in range(center - below, center + above + 1)],
            seeds=config.seeds,
            directory=config.out / f"{network}-{optimizer}-{way}",
            settings=plain(known),
            console=console,
            shared=shared,
        )
        sides = set(sweep.at_edge.values())
        wider = (below + 2 * ("lower" in sides), above + 2 * ("higher" in sides))
        if wider == (below, above) or max(wider) > FARTHEST:
            return sweep
        below, above = wider


def titled(name: str) -> str:
    """What the figure calls a network, an optimizer and a way."""
    return ", ".join(map(called, name.split(", ")))


def table(config: RateTransferConfig, found: dict[str, RateSweep]) -> Table:
    """One row a network, optimizer and way."""
    title = f"Rates tuned at n = {config.width} and moved to {config.times * config.width}"
    shown = Table("network", "drift, octaves", "cost, %", "transfers", title=title)
    shown.caption = (
        f"with 95 % intervals from {config.seeds} seeds; drift and cost mean nothing where rates are to be widened"
    )
    for name, sweep in found.items():
        drift, cost = sweep.drift, sweep.excess
        percent = f"{100 * cost.value:+.0f} ({100 * cost.low:+.0f}, {100 * cost.high:+.0f})"
        shown.add_row(
            name.replace(",", ""), f"{drift.value:+.2f} ± {drift.high - drift.value:.2f}", percent, WORDS[sweep.verdict]
        )
    return shown
