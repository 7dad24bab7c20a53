"""`mupi cifar10`: the π-limit at the paper's scale and at constant memory, and what the constant memory costs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from rich.console import Console
from rich.table import Table

from mupi.checks import fail, positive_int
from mupi.commands.machine import require_device, set_threads
from mupi.commands.options import DataFolder, NotAbove, Only, WrittenFolder, option
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import ACTIVATIONS, PiPerceptron, by_degree, width_of
from mupi.commands.train.presets import CIFAR10, CIFAR10_PRESETS
from mupi.commands.train.restore import restore
from mupi.features import Atoms, Hermite
from mupi.kernels import centered_alignment
from mupi.nets import PiMLP
from mupi.recipes.comparison.compare import error_table, line, table
from mupi.recipes.comparison.contestants import NetContestant
from mupi.recipes.comparison.kernel_by_epoch import EpochScore, kernel_by_epoch
from mupi.recipes.comparison.learned_kernel import ALIGNMENT_IMAGES, last_features
from mupi.recipes.comparison.plots import plot_comparison, plot_learning_curves
from mupi.recipes.comparison.results import Summary, summarize
from mupi.recipes.comparison.truncation import plot_truncation
from mupi.training.atomic import write_figure, write_json
from mupi.training.lock import held

Part = Literal["relu", "quadratic", "augmented", "speed", "truncation", "exact", "kernel"]


@dataclass(frozen=True, kw_only=True)
class Cifar10Config:
    """Train the π-limit at the paper's rank on all of CIFAR-10, and measure what the truncation costs.

    Every part has a folder of its own. What has been computed is kept: the same command after an interruption goes
    on from there.
    """

    parts: tuple[Part, ...] = get_args(Part)
    """relu: the paper's network. quadratic: the kernel q/4 + q²/4, of which degree 2 is all. augmented: the same with
    mirrored, and with mirrored and shifted images. speed: an epoch of the π-limit and of the μ-net. truncation: ReLU by
    number of directions, and with higher degrees in a few. exact: the same beside Atoms, on some of the images. kernel:
    regression with the feature kernel that the quadratic network has learned."""
    seeds: Annotated[int, Only(parts=("relu", "quadratic", "augmented"))] = 3
    """Seeds of relu, quadratic and augmented; the other parts have one."""
    epochs: Annotated[int, Only(parts=("relu", "quadratic", "augmented", "kernel"))] = 40
    """Passes over the images in these three; learning rate and clipping norm drop after four fifths, and in the last
    eighth of the quadratic ones the rate falls to 0."""
    rank: int = 400
    """r."""
    subspace: Annotated[int | None, Only(parts=("relu", "quadratic", "augmented", "speed", "exact", "kernel"))] = 100
    """Directions that degree 2 is kept in; None for all."""
    batch_size: int | None = None
    """Images a step; None for 16 with the quadratic kernel, for which held-out images chose it, and 32 with ReLU."""
    train_size: int | None = None
    """Train on a random subset of this many images, the same for all; None for all."""
    short_epochs: Annotated[int, Only(parts=("truncation",))] = 10
    """Passes over the images in truncation."""
    exact_images: Annotated[int, Only(parts=("exact",))] = 20_000
    """Images in exact, whose time grows with their square."""
    exact_epochs: Annotated[int, Only(parts=("exact",))] = 5
    """Passes over them."""
    kernel_epochs: Annotated[tuple[int, ...], Only(parts=("kernel",)), NotAbove("epochs")] = (1, 10, 40)
    """After which epochs the feature kernel is taken."""
    kernel_images: Annotated[int | None, Only(parts=("kernel",))] = 10_000
    """Training images that a regression takes; None for all, twenty minutes of a core for each epoch."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    out: WrittenFolder = Path("runs/cifar10")
    """Where each part has its folder."""

    def __post_init__(self):
        for name in ("seeds", "epochs", "rank", "short_epochs", "exact_images", "exact_epochs"):
            positive_int(option(name), getattr(self, name))
        for name in ("subspace", "batch_size", "train_size", "kernel_images"):
            if getattr(self, name) is not None:
                positive_int(option(name), getattr(self, name))
        for epoch in self.kernel_epochs:
            positive_int("--kernel-epochs", epoch)
        if not self.parts:
            fail("--parts", "at least one of " + " ".join(get_args(Part)), "none")

    def adapted(self, preset: TrainConfig, epochs: int, **changes: Any) -> TrainConfig:
        """A preset with the data and the machine of this command, for so many epochs."""
        start = preset.changed(
            batch_size=self.batch_size or 32,
            train_size=self.train_size,
            data_seed=0,
            epochs=epochs,
            drop_epoch=max(1, round(0.8 * epochs)),
            threads=self.threads,
            device=self.device,
            data_dir=self.data_dir,
        )
        return start.changed(**changes)

    def relu(self, epochs: int, **changes: Any) -> TrainConfig:
        """The paper's network; the larger batch wants another weight decay."""
        own = {"rank": self.rank, "features": Hermite(2, subspace=self.subspace), "weight_decay": 6e-5}
        return self.adapted(CIFAR10, epochs, **own | changes)

    def quadratic(self, **changes: Any) -> TrainConfig:
        """The network with kernel |b||g|(q/4 + q²/4), with its own rates."""
        best = dict(
            batch_size=self.batch_size or 16,
            weight_decay=1e-4,
            label_smoothing=0.1,
            output_scale=1.0,
            bias_scale=1.0,
            anneal=self.epochs // 8,
        )
        return self.relu(self.epochs, **{"activation": ACTIVATIONS["quadratic"], **best, **changes})


def cifar10(config: Cifar10Config) -> None:
    """Do all parts; print tables, write JSON and figures.

    Raises:
        ValueError: If a folder holds runs of another configuration, or another process writes into it.
        KeyboardInterrupt: After Ctrl-C, which loses nothing.
    """
    set_threads(config.threads)
    require_device(config.device)
    with held(config.out, "choose another --out"):
        _cifar10(config, Console())


def _cifar10(config: Cifar10Config, console: Console) -> None:
    """`cifar10` in a folder that is held."""
    for part in config.parts:
        directory = config.out / part
        if part == "kernel":
            report_kernel(config, directory, console)
            continue
        runs = RUNS[part](config)
        several = part in ("relu", "quadratic", "augmented")
        summaries = train_all(runs, config.seeds if several else 1, directory, console)
        titles = f"CIFAR-10, {part}"
        write_figure(directory / "accuracy.png", plot_comparison(list(summaries.values()), titles))
        write_figure(directory / "curves.png", plot_learning_curves(list(summaries.values()), titles))
        if part == "truncation":
            features = {label: feature_count(run) for label, run in runs.items()}
            write_figure(directory / "truncation.png", plot_truncation(summaries, features))
        if part == "exact":
            report_alignment(runs, directory, console)
        console.print(f"wrote {directory}", highlight=False)


def relu_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """The reproduction."""
    return {"ReLU": config.relu(config.epochs)}


def quadratic_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """The step beyond it."""
    return {"q/4 + q²/4": config.quadratic()}


def augmented_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """More images."""
    return {
        "mirrored": config.quadratic(flip=True),
        "mirrored and shifted": config.quadratic(flip=True, shift=2, weight_decay=5e-5),
    }


def speed_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """One epoch each, one after the other."""
    μ_net = config.adapted(CIFAR10_PRESETS.mu_net, 1)
    return {"π-limit": config.relu(1), f"μ-net, n = {width_of(μ_net.network)}": μ_net}


def truncation_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """Less and more of the kernel."""
    runs = {
        f"degree 2 in {p}": config.relu(config.short_epochs, features=Hermite(2, subspace=p)) for p in (40, 100, 200)
    }
    high = config.relu(config.short_epochs, features=Hermite(4, subspace=by_degree(4, 100, 20)))
    return runs | {"degree 2 in 100, 4 in 20": high}


def exact_runs(config: Cifar10Config) -> dict[str, TrainConfig]:
    """With every atom, and without."""
    images = min(config.exact_images, config.train_size or config.exact_images)
    run = config.relu(config.exact_epochs, train_size=images)
    return {
        "Atoms": run.changed(features=Atoms()),
        f"degree 2 in {config.subspace or config.rank}": run,
        "degree 2 in full": run.changed(features=Hermite(2)),
    }


RUNS: Mapping[str, Callable[[Cifar10Config], dict[str, TrainConfig]]] = {
    "relu": relu_runs,
    "quadratic": quadratic_runs,
    "augmented": augmented_runs,
    "speed": speed_runs,
    "truncation": truncation_runs,
    "exact": exact_runs,
}


def placed(run: TrainConfig, label: str, directory: Path) -> TrainConfig:
    """The run in a folder of its part."""
    name = "".join(c if c.isalnum() else "-" for c in label)
    return replace(run, runs_dir=directory, name=name)


def train_all(runs: Mapping[str, TrainConfig], seeds: int, directory: Path, console: Console) -> dict[str, Summary]:
    """Train each with every seed; print a line for each, a table for all, and write `results.json`."""
    results = []
    for label, run in runs.items():
        for result in NetContestant(label, placed(run, label, directory)).results(seeds, overwrite=False):
            results.append(result)
            console.print(line(result), highlight=False, soft_wrap=True)
    summaries = summarize(results)
    console.print(table(summaries, directory.name))
    if any(s.layer_errors() for s in summaries):
        console.print(error_table(summaries))
    found = {"summaries": [s.to_json() for s in summaries], "results": [asdict(r) for r in results]}
    write_json(directory / "results.json", found)
    return {s.model: s for s in summaries}


def feature_count(run: TrainConfig) -> int:
    """Features of a hidden layer of a run's network."""
    assert isinstance(run.network, PiPerceptron)
    weight = PiMLP(1, 1, run.network.rank, 1, features=run.network.features).readout.weight
    return sum(p.numel() for p in weight.parameters())


def report_alignment(runs: Mapping[str, TrainConfig], directory: Path, console: Console) -> None:
    """Centred alignment of the feature kernels with that of the exact limit, on test images."""
    kernels = {}
    for label, run in runs.items():
        saved = placed(run, label, directory)
        net, data = restore(replace(saved, name=f"{saved.name}-seed0", seed=0))
        features = last_features(net, data.test_x[:ALIGNMENT_IMAGES])
        kernels[label] = net.readout.kernel(features, features).detach()
    exact = kernels.pop("Atoms")
    alignments = {label: float(centered_alignment(kernel, exact)) for label, kernel in kernels.items()}
    write_json(directory / "alignment.json", alignments)
    for label, alignment in alignments.items():
        console.print(f"{label}: alignment of the feature kernel with that of Atoms {alignment:.5f}", highlight=False)


def report_kernel(config: Cifar10Config, directory: Path, console: Console) -> None:
    """Score the feature kernel of the quadratic network after some epochs."""
    run = placed(config.quadratic(), "seed0", directory)
    epochs = [epoch for epoch in config.kernel_epochs if epoch <= config.epochs]
    shown = Table("epoch", "network, %", "its feature kernel, %", "ridge", "alignment with the labels", title="kernel")
    scores: list[EpochScore] = []
    for score in kernel_by_epoch(run, epochs, config.kernel_images):
        scores.append(score)
        shown.add_row(
            str(score.epoch),
            f"{100 * score.network_accuracy:.2f}",
            f"{100 * score.kernel.test_accuracy:.2f}",
            f"{score.kernel.ridge:g}",
            f"{score.kernel.alignment:.4f}",
        )
    console.print(shown)
    write_json(directory / "results.json", [asdict(score) for score in scores])
