"""The learned feature kernel in the course of a training run, as judged by kernel regression."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from mupi.checks import fail
from mupi.commands.machine import set_threads
from mupi.commands.own_process import in_own_process
from mupi.commands.train.config import TrainConfig, current_settings
from mupi.commands.train.restore import restore
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import train_network
from mupi.progress import progress_display
from mupi.recipes.comparison.learned_kernel import LearnedKernelScore, score_learned_kernel
from mupi.training.cached import cached
from mupi.training.records import of_fields

SCORES = "kernel"


@dataclass(frozen=True, kw_only=True)
class EpochScore:
    """The kernel after an epoch.

    Attributes:
        epoch: Counted from 1; 0 is the untrained network.
        network_accuracy: Test accuracy of the network itself.
        kernel: The score of its feature kernel.
    """

    epoch: int
    network_accuracy: float
    kernel: LearnedKernelScore


def kernel_by_epoch(config: TrainConfig, epochs: Iterable[int], train_images: int | None) -> Iterator[EpochScore]:
    """Train to each of some epochs, and score the feature kernel there.

    Scores are kept in the run's directory; those found there are not computed again.

    Args:
        config: The configuration of the run.
        epochs: The epochs after which the kernel is scored.
        train_images: How many training images a regression takes; None for all.

    Raises:
        ValueError: If the saved run has gone beyond an epoch that has no score yet, or a score is of other settings.
    """
    for epoch in sorted(set(epochs)):
        run = replace(config, epochs=epoch)
        yield cached(
            config.directory / SCORES / f"{epoch:03}.json",
            {"run": run.identity(), "train_images": train_images},
            lambda run=run: asdict(score_after(run, train_images)),
            partial(of_fields, EpochScore),
            advice="remove it, or choose another --out",
            current=current_settings,
        )


def score_after(config: TrainConfig, train_images: int | None) -> EpochScore:
    """Train for the configuration's epochs, going on from what is saved, and score."""
    resume = run_folder(config).present
    metrics = in_own_process(train_network, replace(config, resume=resume), f"to epoch {config.epochs}")
    if len(metrics) != config.epochs:
        fail("epochs", f"after {len(metrics)}, where `{config.directory}` is", config.epochs, "choose another name")
    score = in_own_process(score_saved, config, train_images)
    return EpochScore(epoch=config.epochs, network_accuracy=metrics[-1].test_accuracy, kernel=score)


def score_saved(config: TrainConfig, train_images: int | None) -> LearnedKernelScore:
    """Score the network in the run's checkpoint."""
    set_threads(config.threads)
    net, data = restore(config)
    generator = torch.Generator().manual_seed(config.seed)
    if train_images is not None and train_images < len(data.train_x):
        data = data.take(train_images, generator)
    # Two thirds and one third of the images, at most as many as take a minute for each ridge.
    fit_size = min(10_000, 2 * len(data.train_x) // 3)
    with progress_display() as progress:
        return score_learned_kernel(
            net, data, generator=generator, fit_size=fit_size, validation_size=fit_size // 2, progress=progress
        )
