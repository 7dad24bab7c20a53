"""`mupi cifar10`: the π-limit at the paper's scale and at constant memory, and what the constant memory costs."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mupi.commands.machine import require_device, set_threads
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import PiPerceptron
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.report import report_errors
from mupi.commands.train.restore import restore
from mupi.kernels import centered_alignment
from mupi.nets import PiMLP
from mupi.recipes.comparison.cifar10_parts import CHOSEN, Cifar10Config, Exact, Kernel, Repeated, Truncation, runs
from mupi.recipes.comparison.compare import line, table
from mupi.recipes.comparison.contestants import NetContestant
from mupi.recipes.comparison.kernel_by_epoch import EpochScore, kernel_by_epoch
from mupi.recipes.comparison.learned_kernel import ALIGNMENT_IMAGES, last_features
from mupi.recipes.comparison.plots import plot_comparison, plot_learning_curves
from mupi.recipes.comparison.results import Summary, summarize
from mupi.recipes.comparison.truncation import plot_truncation
from mupi.reports import Report
from mupi.training.atomic import write_json
from mupi.training.lock import held


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
        name = CHOSEN.name(part)
        directory = config.out / name
        found = runs(config, part)
        if isinstance(part, Kernel):
            report_kernel(part, next(iter(found.values())), directory, console)
            continue
        titles = f"CIFAR-10, {name}"
        report = Report(titles, plain_fields(config), console)
        summaries = train_all(found, part.seeds if isinstance(part, Repeated) else 1, directory, report)
        report.figure(directory / "accuracy.png", plot_comparison(list(summaries.values()), titles))
        report.figure(directory / "curves.png", plot_learning_curves(list(summaries.values()), titles))
        if isinstance(part, Truncation):
            features = {label: feature_count(run) for label, run in found.items()}
            report.figure(directory / "truncation.png", plot_truncation(summaries, features))
        if isinstance(part, Exact):
            report_alignment(found, directory, report)
        report.write(directory)


def placed(run: TrainConfig, label: str, directory: Path) -> TrainConfig:
    """The run in a folder of its part."""
    name = "".join(c if c.isalnum() else "-" for c in label)
    return replace(run, runs_dir=directory, name=name)


def train_all(found: Mapping[str, TrainConfig], seeds: int, directory: Path, report: Report) -> dict[str, Summary]:
    """Train each with every seed; print a line for each, a table for all, and write `results.json`."""
    results = []
    for label, run in found.items():
        for result in NetContestant(label, placed(run, label, directory)).results(seeds, overwrite=False):
            results.append(result)
            report.console.print(line(result), highlight=False, soft_wrap=True)
    summaries = summarize(results)
    report.table(table(summaries, directory.name))
    report_errors(report, {s.model: s.layer_errors() for s in summaries})
    saved = {"summaries": [s.to_json() for s in summaries], "results": [asdict(r) for r in results]}
    report.json(directory / "results.json", saved)
    return {s.model: s for s in summaries}


def feature_count(run: TrainConfig) -> int:
    """Features of a hidden layer of a run's network."""
    assert isinstance(run.network, PiPerceptron)
    weight = PiMLP(1, 1, run.network.rank, 1, features=run.network.features).readout.weight
    return sum(p.numel() for p in weight.parameters())


def report_alignment(found: Mapping[str, TrainConfig], directory: Path, report: Report) -> None:
    """Centred alignment of the feature kernels with that of the exact limit, on test images."""
    kernels = {}
    for label, run in found.items():
        saved = placed(run, label, directory)
        net, data = restore(replace(saved, name=f"{saved.name}-seed0", seed=0))
        features = last_features(net, data.test_x[:ALIGNMENT_IMAGES])
        kernels[label] = net.readout.kernel(features, features).detach()
    exact = kernels.pop("Atoms")
    alignments = {label: float(centered_alignment(kernel, exact)) for label, kernel in kernels.items()}
    report.json(directory / "alignment.json", alignments)
    for label, alignment in alignments.items():
        report.say(f"{label}: alignment of the feature kernel with that of Atoms {alignment:.5f}")


def report_kernel(part: Kernel, run: TrainConfig, directory: Path, console: Console) -> None:
    """Score the feature kernel of the quadratic network after some epochs."""
    run = placed(run, "seed0", directory)
    epochs = [epoch for epoch in part.kernel_epochs if epoch <= part.epochs]
    shown = Table("epoch", "network, %", "its feature kernel, %", "ridge", "alignment with the labels", title="kernel")
    scores: list[EpochScore] = []
    for score in kernel_by_epoch(run, epochs, part.kernel_images):
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
