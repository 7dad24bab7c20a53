"""`mupi compare`: kernels, finite networks and infinite ones that learn features, in one table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.table import Table

from mupi.checks import fail, positive_int
from mupi.commands.machine import require_device, set_threads
from mupi.commands.naming import differences, named_by
from mupi.commands.options import DataFolder, Name, Only, WrittenFolder, option
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import narrowed, width_of
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.presets import PRESETS
from mupi.data import DatasetName
from mupi.features import Atoms
from mupi.nets import NNGP, NTK
from mupi.recipes.comparison.contestants import KernelContestant, NetContestant, beside
from mupi.recipes.comparison.plots import plot_comparison, plot_learning_curves
from mupi.recipes.comparison.results import Result, Summary, summarize
from mupi.training.atomic import write_figure, write_json
from mupi.training.folder_name import folder_name
from mupi.training.lock import held

Model = Literal["nngp", "ntk", "sp-net", "mu-net", "pi-net", "pi-limit"]
MODELS: tuple[Model, ...] = ("nngp", "ntk", "sp-net", "mu-net", "pi-net", "pi-limit")


NETWORKS = Only(models=("sp-net", "mu-net", "pi-net", "pi-limit"))


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Train networks and kernels on one data set, and set them side by side.

    NNGP and NTK regression; finite networks in the standard parametrization, in μP (μ-net) and π-projected (π-net);
    the π-limit. Networks are trained once for each seed, kernels once, each in a process of its own. What has been
    computed is kept: the same command after an interruption goes on from there.
    """

    dataset: DatasetName = "digits"
    """The images."""
    train_size: int | None = None
    """Train on a random subset of this many images, the same for all; None for all."""
    validation: int | None = None
    """Hold out this many training images and test on them instead of the test images; None for none."""
    seeds: Annotated[int, NETWORKS] = 3
    """Networks of each kind; they differ in the initial network and the order of the images."""
    exact: Annotated[bool | None, Only(models=("pi-limit",))] = None
    """Also the π-limit with Atoms, whose time and memory grow; None for yes on digits and no on cifar10."""
    models: tuple[Model, ...] = MODELS
    """Which to compare."""
    epochs: Annotated[int | None, NETWORKS] = None
    """Passes over the training images; the learning rate drops after four fifths. None for the presets'."""
    width: Annotated[int | None, Only(models=("sp-net", "mu-net", "pi-net"))] = None
    """Of the finite networks; None for the presets'."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    runs_dir: WrittenFolder = Path("runs")
    """Where the folder of this comparison is kept."""
    name: Name = None
    """The folder's name; None for `compare-` and the data set."""
    overwrite: bool = False
    """Compute everything anew."""

    def __post_init__(self):
        positive_int("--seeds", self.seeds)
        for name in ("epochs", "width", "threads", "train_size", "validation"):
            if getattr(self, name) is not None:
                positive_int(option(name), getattr(self, name))
        if len(set(self.models)) < len(self.models):
            fail("--models", "different ones", " ".join(self.models))
        if not self.models:
            fail("--models", "at least one of " + " ".join(MODELS), "none")

    @property
    def directory(self) -> Path:
        """The folder of this comparison."""
        if self.name is not None:
            return self.runs_dir / self.name
        options = {name: getattr(self, name) for name in ("train_size", "validation", "epochs", "width")}
        return self.runs_dir / f"compare-{self.dataset}{named_by(differences(options, {}, ()))}"

    @property
    def with_atoms(self) -> bool:
        """Whether the exact π-limit takes part."""
        return self.dataset == "digits" if self.exact is None else self.exact

    @property
    def title(self) -> str:
        """What is compared, in words."""
        images = "" if self.train_size is None else f", {self.train_size:,} training images"
        epochs = self.epochs or PRESETS[self.dataset].pi_limit.epochs
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{self.dataset}{images}, {epochs} epochs, {seeds}"

    def adapted(self, preset: TrainConfig) -> TrainConfig:
        """A preset with what is asked for here."""
        epochs = preset.epochs if self.epochs is None else self.epochs
        drop = preset.drop_epoch if self.epochs is None else max(1, round(0.8 * epochs))
        width = {} if self.width is None else narrowed(preset.network, self.width)
        return preset.changed(
            train_size=self.train_size,
            validation=self.validation,
            data_seed=0,
            epochs=epochs,
            drop_epoch=drop,
            threads=self.threads,
            device=self.device,
            data_dir=self.data_dir,
            **width,
        )


def compare(config: CompareConfig) -> list[Summary]:
    """Train all, print the table, write JSON and figures.

    Returns:
        One summary a model.

    Raises:
        ValueError: If the directory holds results of another configuration, another process writes into it, or
            something cannot be computed.
        KeyboardInterrupt: After Ctrl-C, which loses nothing.
    """
    folder_name("--name", config.name)
    # Before hours of what comes first, not after.
    set_threads(config.threads)
    require_device(config.device)
    with held(config.directory):
        return _compare(config, Console())


def _compare(config: CompareConfig, console: Console) -> list[Summary]:
    """`compare` in a folder that is held."""
    console.print(config.title, style="bold", highlight=False)
    results: list[Result] = []
    try:
        for contestant in contestants(config):
            for result in contestant.results(config.seeds, config.overwrite):
                results.append(result)
                console.print(line(result), highlight=False, soft_wrap=True)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"interrupted; `{config.directory}` holds what was computed, and the same command without --overwrite goes "
            "on from there"
        ) from error
    summaries = summarize(results)
    console.print(table(summaries, config.title))
    if any(s.layer_errors() for s in summaries):
        console.print(error_table(summaries))
    for path in save(config, summaries, results):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return summaries


def contestants(config: CompareConfig) -> list[KernelContestant | NetContestant]:
    """Those that take part, in the table's order."""
    presets, directory = PRESETS[config.dataset], config.directory
    limit = config.adapted(presets.pi_limit)
    found: list[KernelContestant | NetContestant] = []
    for name, label, kernel in (("nngp", "NNGP", NNGP), ("ntk", "NTK", NTK)):
        if name in config.models:
            k = kernel(limit.network.depth, limit.network.activation)
            found.append(KernelContestant(label, k, presets.ridge, beside(directory, name, limit)))
    for name, label, preset in (
        ("sp-net", "SP net", presets.sp_net),
        ("mu-net", "μ-net", presets.mu_net),
        ("pi-net", "π-net", presets.pi_net),
    ):
        if name in config.models:
            net = config.adapted(preset)
            found.append(NetContestant(f"{label}, n = {width_of(net.network)}", beside(directory, name, net)))
    if "pi-limit" in config.models:
        found.append(NetContestant("π-limit, Hermite", beside(directory, "pi-limit", limit)))
        if config.with_atoms:
            exact = beside(directory, "pi-limit-exact", limit.changed(features=Atoms()))
            found.append(NetContestant("π-limit, Atoms", exact))
    return found


def line(result: Result) -> str:
    """One result."""
    seed = "" if result.seed is None else f", seed {result.seed}"
    return (
        f"{result.model + seed:<24} {100 * result.accuracy:6.2f} % {result.seconds:8,.1f} s {result.peak_mb:6,.0f} MB "
        f"{result.size:>11,} {result.unit}"
    )


def table(summaries: Sequence[Summary], title: str) -> Table:
    """One row a model."""
    shown = Table("", "test accuracy, %", "seconds", "peak MB", "size", title=title)
    for s in summaries:
        spread = "" if s.deviation is None else f" ± {100 * s.deviation:.2f}"
        size = f"{s.results[0].size:,} {s.results[0].unit}"
        shown.add_row(s.model, f"{100 * s.accuracy:.2f}{spread}", f"{s.seconds:,.1f}", f"{s.peak_mb:,.0f}", size)
    return shown


def error_table(summaries: Sequence[Summary]) -> Table:
    """One row for each model whose layers' kernels are not exact, with the errors of each."""
    errors = {s.model: s.layer_errors() for s in summaries if s.layer_errors()}
    layers = dict.fromkeys(layer for found in errors.values() for layer in found)
    shown = Table("", *layers, title="relative error, output / input gradient")
    for model, found in errors.items():
        shown.add_row(model, *("{:.4f} / {:.4f}".format(*found[layer]) for layer in layers))
    return shown


def save(config: CompareConfig, summaries: Sequence[Summary], results: Sequence[Result]) -> list[Path]:
    """Write `compare.json`, `accuracy.png` and `curves.png`."""
    names = ("compare.json", "accuracy.png", "curves.png")
    path, accuracy, curves = (config.directory / name for name in names)
    settings = plain_fields(config)
    found = {"summaries": [s.to_json() for s in summaries], "results": [asdict(r) for r in results]}
    write_json(path, {"config": settings, **found})
    write_figure(accuracy, plot_comparison(summaries, config.title))
    write_figure(curves, plot_learning_curves(summaries, config.title))
    return [path, accuracy, curves]
