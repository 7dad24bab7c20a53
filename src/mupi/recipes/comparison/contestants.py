"""The networks and kernels that `mupi compare` sets side by side, each in a process of its own."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mupi.commands.machine import set_threads
from mupi.commands.own_process import in_own_process
from mupi.commands.train.build import build_data, independent_generators
from mupi.commands.train.config import TrainConfig, current
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import MB, train_network
from mupi.kernels import KernelRegression
from mupi.nets import MLPKernel
from mupi.progress import progress_display
from mupi.recipes.comparison.results import Result
from mupi.training.cached import cached
from mupi.training.epoch_metrics import EpochMetrics
from mupi.training.memory_use import PeakMemory
from mupi.training.records import of_fields
from mupi.training.sealed import read_sealed


@dataclass(frozen=True)
class NetContestant:
    """A network, trained once for each seed.

    Attributes:
        label: What to call it.
        config: How it is trained; each seed has its own directory in ``runs_dir``.
    """

    label: str
    config: TrainConfig

    def results(self, seeds: int, overwrite: bool) -> Iterator[Result]:
        """One for each seed, as they are ready."""
        for seed in range(seeds):
            yield self.result(seed, overwrite)

    def result(self, seed: int, overwrite: bool) -> Result:
        """Train it, or go on from where it was interrupted, unless it is finished."""
        config = replace(self.config, seed=seed, name=f"{self.config.name}-seed{seed}")
        metrics = None if overwrite else finished(config)
        if metrics is None:
            resume = run_folder(config).present and not overwrite
            config = replace(config, overwrite=overwrite, resume=resume)
            metrics = in_own_process(train_network, config, f"{self.label}, seed {seed}")
        last = metrics[-1]
        return Result(
            model=self.label,
            seed=seed,
            accuracy=last.test_accuracy,
            seconds=sum(m.seconds for m in metrics),
            peak_mb=max(m.peak_mb for m in metrics),
            size=last.atoms or last.parameters,
            unit="atoms" if last.atoms else "parameters",
            epochs=tuple(metrics),
        )


@dataclass(frozen=True)
class KernelContestant:
    """Kernel ridge regression, which no seed changes.

    Attributes:
        label: What to call it.
        kernel: The kernel that is regressed with.
        ridge: In units of its mean diagonal.
        data: A configuration that says which data; its directory is where the result is kept.
    """

    label: str
    kernel: MLPKernel
    ridge: float
    data: TrainConfig

    def results(self, seeds: int, overwrite: bool) -> Iterator[Result]:
        """The one result."""
        yield self.result(overwrite)

    def result(self, overwrite: bool) -> Result:
        """Fit and test it, unless that has been done.

        Raises:
            ValueError: If the saved result is of another regression.
        """
        path = self.data.directory / "result.json"
        return cached(
            path,
            self.identity(),
            lambda: asdict(in_own_process(fit_kernel, self)),
            partial(of_fields, Result),
            overwrite=overwrite,
        )

    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        data = self.data.identity()
        kept = {name: data[name] for name in ("dataset", "classes", "files", "train_size", "validation", "data_seed")}
        return {"kernel": repr(self.kernel), "ridge": self.ridge, **kept}


def fit_kernel(contestant: KernelContestant) -> Result:
    """Fit a regression and measure what it takes; of a process of its own."""
    config = contestant.data
    set_threads(config.threads)
    data = build_data(config, independent_generators(0, 1)[0])
    few, classes = slice(16), len(data.classes)
    KernelRegression(contestant.kernel, contestant.ridge).fit(data.train_x[few], data.train_y[few], classes=classes)
    memory = PeakMemory(data.train_x.device)
    memory.restart()
    start = time.perf_counter()
    with progress_display() as progress:
        regression = KernelRegression(contestant.kernel, contestant.ridge)
        regression.fit(data.train_x, data.train_y, progress, classes=classes)
        accuracy = regression.score(data.test_x, data.test_y, progress)
    return Result(
        model=contestant.label,
        seed=None,
        accuracy=accuracy,
        seconds=time.perf_counter() - start,
        peak_mb=memory.growth() / MB,
        size=len(data.train_x),
        unit="images",
    )


def finished(config: TrainConfig) -> list[EpochMetrics] | None:
    """The metrics of a saved run that is this one, and has all its epochs."""
    run = run_folder(config)
    if not (run.present and run.config_path.exists() and run.metrics_path.exists()):
        return None
    saved = {**run.defaults, **current(read_sealed(run.config_path))}
    wanted = {**config.identity(), "epochs": config.epochs}
    metrics = run.metrics()
    if len(metrics) != config.epochs or any(saved.get(name) != value for name, value in wanted.items()):
        return None
    # The last line is there a moment before the network is. Who removed a finished run's checkpoint has its metrics.
    if run.checkpoint_path.exists() and run.read(run.checkpoint_path, mapped=True)["epoch"] < config.epochs:
        return None
    return metrics


def beside(directory: Path, name: str, config: TrainConfig) -> TrainConfig:
    """The configuration, with its directories named ``name`` inside ``directory``."""
    return replace(config, runs_dir=directory, name=name)
