"""`mupi feature-kernels`: feature kernels in training, of the μ-limit beside finite networks, as a moving picture."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from torch import Tensor

from mupi.activations import Activation, Tanh
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import DataFolder, Seed, WrittenFolder, option
from mupi.commands.train.plain_fields import plain_fields
from mupi.data import DatasetName
from mupi.distributed.launched import launched
from mupi.distributed.turns import in_turn
from mupi.extras import require
from mupi.parametrization import Parametrization
from mupi.recipes.mu_limit.beside_networks import (
    OTHERWISE,
    MuLimitConfig,
    finite_curves,
    images,
    limit_curves,
    refuse_if_too_large,
)
from mupi.reports import Report
from mupi.training.atomic import replacing
from mupi.training.lock import held_by_first


@dataclass(frozen=True, kw_only=True)
class FeatureKernelsConfig:
    """Train the μ-limit and finite networks on two classes of images; show how their feature kernels move."""

    dataset: DatasetName = "digits"
    """The images."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    classes: tuple[int, int] = (3, 8)
    """The two classes, with targets −1 and 1."""
    images: int = 32
    """Training images; every step takes all of them."""
    depth: int = 2
    """L, the number of hidden layers."""
    activation: Activation = Tanh()
    """φ."""
    lr: float = 0.7
    """η, on images of norm about 1."""
    steps: int = 16
    """T."""
    samples: int = 4096
    """Samples of the limit's random variables, in each of 2 replicates."""
    widths: tuple[int, ...] = (64, 1024)
    """Of the finite networks."""
    seed: Seed = 0
    """Of the finite networks."""
    threads: int | None = None
    """Threads of torch; None leaves it to torch."""
    out: WrittenFolder = Path("runs/feature-kernels")
    """Where `feature_kernels.gif`, `.png` and `.json` are written."""

    def __post_init__(self):
        if not self.widths or len(set(self.widths)) < len(self.widths):
            fail("--widths", "at least one width, all different", self.widths)
        for width in self.widths:
            positive_int("--widths", width)
        for name in ("images", "depth", "steps", "samples"):
            positive_int(option(name), getattr(self, name))
        non_negative("--lr", self.lr)
        self.trained()

    def trained(self) -> MuLimitConfig:
        """How the networks are trained, as `mupi mu-limit` has it."""
        return MuLimitConfig(
            dataset=self.dataset, data_dir=self.data_dir, classes=self.classes, images=self.images, depth=self.depth,
            activation=self.activation, lr=self.lr, steps=self.steps, samples=self.samples, replicates=2,
        )  # fmt: skip


def feature_kernels(config: FeatureKernelsConfig) -> dict[str, Tensor]:
    """Train; write a GIF, a figure and how far the kernels are from the limit's.

    Processes that `torchrun` has started take the networks in turn.

    Returns:
        E φ(h)φ(h)' of the last hidden layer (times, images, images), by network.

    Raises:
        ValueError: If another process writes into the folder, or there are too few images.
    """
    require("PIL", "mupi feature-kernels")
    from mupi.figures.kernel_animation import animate_kernels, plot_kernels

    trained = config.trained()
    set_threads(config.threads)
    refuse_if_too_large(trained)
    x, y, test_x = images(trained)
    jobs = {"n = ∞": lambda: limit_curves(trained, Parametrization.mup(config.depth), x, y, test_x[:1])}
    for n in config.widths:
        jobs[f"n = {n:,}"] = lambda n=n: finite_curves(trained, n, config.seed, x, y, test_x[:1])
    with launched("cpu") as processes, held_by_first(config.out, processes, OTHERWISE):
        console = Console(quiet=not processes.first)
        pieces = {name: name for name in jobs}
        kernels: dict[str, Tensor] = in_turn(processes, pieces, lambda name: jobs[name]()["kernels"], console)
        if not processes.first:
            return kernels
        with replacing(config.out / "feature_kernels.gif") as partial:
            animate_kernels(partial, kernels)
        report = Report("Feature kernels in training", plain_fields(config), console)
        limit = kernels["n = ∞"]
        gaps = {name: float((k - limit).norm() / limit.norm()) for name, k in kernels.items() if k is not limit}
        moved = {name: float((k[-1] - k[0]).norm() / k[0].norm()) for name, k in kernels.items()}
        summary = {"config": plain_fields(config), "relative_gaps": gaps, "relative_change_in_training": moved}
        for name, gap in gaps.items():
            report.say(f"{name}: kernels are {gap:.1%} from the limit's; training moves them by {moved[name]:.0%}.")
        report.figure(config.out / "feature_kernels.png", plot_kernels(kernels))
        report.json(config.out / "feature_kernels.json", summary)
        report.write(config.out)
    console.print(f"wrote {config.out / 'feature_kernels.gif'}", highlight=False)
    return kernels
