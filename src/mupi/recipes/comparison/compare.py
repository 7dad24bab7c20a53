"""`mupi compare`: kernels, finite networks and infinite ones that learn features, in one table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from rich.console import Console
from rich.table import Table

from mupi.checks import fail, positive_int
from mupi.commands.choices import Choice
from mupi.commands.machine import require_device, set_threads
from mupi.commands.naming import differences, named_by
from mupi.commands.options import DataFolder, Name, WrittenFolder, named, option
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import narrowed, width_of
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.presets import PRESETS
from mupi.commands.train.report import report_errors
from mupi.data import DatasetName
from mupi.features import Atoms
from mupi.nets import NNGP, NTK
from mupi.recipes.comparison.contestants import KernelContestant, NetContestant, beside
from mupi.recipes.comparison.models import (
    MODELS,
    Model,
    MuNet,
    NNGPRegression,
    NTKRegression,
    PiLimit,
    PiLimitExact,
    PiNet,
    StandardNet,
    usual,
)
from mupi.recipes.comparison.plots import plot_comparison, plot_learning_curves
from mupi.recipes.comparison.results import Result, Summary, summarize
from mupi.reports import Report
from mupi.training.folder_name import folder_name
from mupi.training.lock import held


def usual_words(args: Sequence[str]) -> tuple[str, ...]:
    """The models of a command line that names none."""
    return usual(named(args, "--dataset", "digits", get_args(DatasetName)))


COMPARED = Choice(
    MODELS,
    several=True,
    default=usual_words,
    was={"--exact": "--models … pi-limit-exact", "--no-exact": "--models …, without pi-limit-exact"},
)


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
    models: Annotated[tuple[Model, ...], COMPARED]
    """Which to compare; without a word all, the exact π-limit only on digits."""
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
        for name in ("threads", "train_size", "validation"):
            if getattr(self, name) is not None:
                positive_int(option(name), getattr(self, name))
        if not self.models:
            fail("--models", "at least one of " + " ".join(MODELS), "none")

    @property
    def directory(self) -> Path:
        """The folder of this comparison."""
        if self.name is not None:
            return self.runs_dir / self.name
        options = {name: getattr(self, name) for name in ("train_size", "validation")}
        options |= {name: self.of_models(name) for name in ("epochs", "width")}
        return self.runs_dir / f"compare-{self.dataset}{named_by(differences(options, {}, ()))}"

    def of_models(self, option: str) -> Any:
        """The value that an option has in the models that have it; None if it is nowhere set."""
        return next((value for m in self.models if (value := getattr(m, option, None)) is not None), None)

    @property
    def title(self) -> str:
        """What is compared, in words."""
        images = "" if self.train_size is None else f", {self.train_size:,} training images"
        if (count := self.of_models("seeds")) is None:
            return f"{self.dataset}{images}"
        epochs = self.of_models("epochs") or PRESETS[self.dataset].pi_limit.epochs
        return f"{self.dataset}{images}, {epochs} epochs, {'1 seed' if count == 1 else f'{count} seeds'}"

    def adapted(self, preset: TrainConfig, epochs: int | None = None, width: int | None = None) -> TrainConfig:
        """A preset with what is asked for here, and of a model."""
        drop = preset.drop_epoch if epochs is None else max(1, round(0.8 * epochs))
        return preset.changed(
            train_size=self.train_size,
            validation=self.validation,
            data_seed=0,
            epochs=preset.epochs if epochs is None else epochs,
            drop_epoch=drop,
            threads=self.threads,
            device=self.device,
            data_dir=self.data_dir,
            **({} if width is None else narrowed(preset.network, width)),
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
        for contestant, seeds in contestants(config):
            for result in contestant.results(seeds, config.overwrite):
                results.append(result)
                console.print(line(result), highlight=False, soft_wrap=True)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"interrupted; `{config.directory}` holds what was computed, and the same command without --overwrite goes "
            "on from there"
        ) from error
    summaries = summarize(results)
    report = Report(config.title, plain_fields(config), console)
    report.table(table(summaries, config.title))
    report_errors(report, {s.model: s.layer_errors() for s in summaries})
    save(config, summaries, results, report)
    return summaries


def contestants(config: CompareConfig) -> list[tuple[KernelContestant | NetContestant, int]]:
    """Those that take part, and how often each is trained, in the table's order."""
    order = [type(model) for model in MODELS.values()]
    chosen = sorted(config.models, key=lambda model: order.index(type(model)))
    return [(contestant(config, model), getattr(model, "seeds", 1)) for model in chosen]


def contestant(config: CompareConfig, model: Model) -> KernelContestant | NetContestant:
    """One that takes part."""
    presets, directory, name = PRESETS[config.dataset], config.directory, COMPARED.name(model)
    match model:
        case NNGPRegression() | NTKRegression():
            data = config.adapted(presets.pi_limit)
            label, family = ("NNGP", NNGP) if isinstance(model, NNGPRegression) else ("NTK", NTK)
            kernel = family(data.network.depth, data.network.activation)
            return KernelContestant(label, kernel, presets.ridge, beside(directory, name, data))
        case StandardNet() | MuNet() | PiNet():
            label, preset = {
                StandardNet: ("SP net", presets.sp_net),
                MuNet: ("μ-net", presets.mu_net),
                PiNet: ("π-net", presets.pi_net),
            }[type(model)]
            net = config.adapted(preset, model.epochs, model.width)
            return NetContestant(f"{label}, n = {width_of(net.network)}", beside(directory, name, net))
        case PiLimit() | PiLimitExact():
            limit = config.adapted(presets.pi_limit, model.epochs)
            if isinstance(model, PiLimit):
                return NetContestant("π-limit, Hermite", beside(directory, name, limit))
            return NetContestant("π-limit, Atoms", beside(directory, name, limit.changed(features=Atoms())))


def line(result: Result) -> str:
    """One result."""
    seed = "" if result.seed is None else f", seed {result.seed}"
    return (
        f"{result.model + seed:<24} {100 * result.accuracy:6.2f} % {result.seconds:8,.1f} s {result.peak_mb:6,.0f} MB "
        f"{result.size:>11,} {result.unit}"
    )


def table(summaries: Sequence[Summary], title: str) -> Table:
    """One row a model; published figures may be of the best epoch, which stands beside the last."""
    shown = Table("", "test, %", "best epoch", "seconds", "peak MB", "size", title=title)
    for s in summaries:
        spread = "" if s.deviation is None else f" ± {100 * s.deviation:.2f}"
        size = f"{s.results[0].size:,} {s.results[0].unit}"
        accuracies = f"{100 * s.accuracy:.2f}{spread}", "" if s.best is None else f"{100 * s.best:.2f}"
        shown.add_row(s.model, *accuracies, f"{s.seconds:,.1f}", f"{s.peak_mb:,.0f}", size)
    return shown


def save(config: CompareConfig, summaries: Sequence[Summary], results: Sequence[Result], report: Report) -> None:
    """Write `compare.json`, `accuracy.png`, `curves.png` and `report.html`."""
    found = {"summaries": [s.to_json() for s in summaries], "results": [asdict(r) for r in results]}
    report.json(config.directory / "compare.json", {"config": plain_fields(config), **found})
    bars = plot_comparison(summaries, config.title)
    report.figure(config.directory / "accuracy.png", bars, "Bars of error: one standard deviation over seeds.")
    curves = plot_learning_curves(summaries, config.title)
    report.figure(config.directory / "curves.png", curves, "Lines: means over seeds; bands: least to greatest.")
    report.write(config.directory)
