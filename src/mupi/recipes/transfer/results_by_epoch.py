"""All results of one evaluation: those found on disk, and the others after they are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from mupi.checks import fail
from mupi.commands.train.build import build_data
from mupi.commands.train.config import TrainConfig, current_settings
from mupi.commands.train.run import run_folder
from mupi.data import Dataset, DatasetName
from mupi.nets import NNGP, NTK
from mupi.recipes.transfer.config import TARGETS, EvaluationConfig
from mupi.recipes.transfer.parts import CHOSEN_BASELINES, Baseline, NNGPBaseline, PartName
from mupi.recipes.transfer.representation import Representation
from mupi.recipes.transfer.score import Score
from mupi.recipes.transfer.scoring import Scoring
from mupi.training.cached import cached

FOLDER = "transfer"


def of_classes(run: TrainConfig) -> DatasetName:
    """The data set of a run.

    Raises:
        ValueError: If it is a file of the user's, which has no counterpart to transfer to.
    """
    if run.dataset == "own":
        fail("mupi transfer", "given runs on one of its data sets", f"`{run.directory}`, on a file", "see --dataset")
    return run.dataset


class Evaluation:
    """Results of runs on one target.

    Those of a run are in its directory, ``transfer/NAME/PART-EPOCH.json``, those of baselines in ``out``.

    Args:
        how: The configuration of the evaluation.
        runs: The pretrained networks.
        progress: Where to show what is done.

    Raises:
        ValueError: If the runs are of several data sets and the target is not named, or of a user's file.
    """

    def __init__(self, how: EvaluationConfig, runs: Sequence[TrainConfig], progress: Progress):
        targets: list[DatasetName] = [how.target or TARGETS[of_classes(run)] for run in runs]
        self.target: DatasetName = targets[0]
        if len(set(targets)) > 1:
            fail("--target", "given for runs on several data sets", "none", f"for example --target {self.target}")
        self.how = how
        # A run may have been trained on another machine.
        self.runs = [replace(run, device=how.device, data_dir=how.data_dir or run.data_dir) for run in runs]
        self.out = how.out or Path("runs") / f"transfer-{how.folder(self.target)}"
        self.scoring = Scoring(how, progress)
        self.progress = progress
        total = len(how.baselines) + sum(len(self.epochs(run)) * len(how.parts) for run in self.runs)
        self.bar = progress.add_task("", total=total)

    def epochs(self, run: TrainConfig) -> list[int]:
        """After which epochs a run is evaluated.

        Raises:
            FileNotFoundError: If it has kept none.
        """
        epochs = run_folder(run).kept_epochs()
        if not epochs:
            raise FileNotFoundError(
                f"`{run.directory}` has no networks of its epochs: pretrain with `mupi transfer pretrain`, or with "
                "`mupi train --keep-epochs`"
            )
        return epochs if self.how.epochs is None else sorted({0, *self.how.epochs})

    def baseline(self, baseline: Baseline) -> Score:
        """Regression with the kernel of the infinite perceptron of the runs' depth and activation, without biases."""
        name = CHOSEN_BASELINES.name(baseline)
        self.progress.update(self.bar, description=name)
        run = self.runs[0]
        kernel = (NNGP if isinstance(baseline, NNGPBaseline) else NTK)(run.network.depth, run.network.activation)
        score = cached(
            self.out / f"{name}.json",
            {"kernel": repr(kernel), "target": self.target, **self.how.data(), **self.how.settings(baseline)},
            lambda: self.scoring.baseline(baseline, kernel, self.images).to_json(),
            Score.from_json,
            overwrite=self.how.overwrite,
            advice="replace it with --overwrite, or choose another --out",
            current=without_unit_norm,
        )
        self.progress.advance(self.bar)
        return score

    def scores(self, run: TrainConfig, epoch: int) -> dict[PartName, Score]:
        """All parts for the network that a run has kept of an epoch."""

        @cache
        def pretrained() -> Representation:
            return Representation.after(run, epoch, self.images)

        scores = {}
        for name, part in zip(self.how.part_names, self.how.parts, strict=True):
            self.progress.update(self.bar, description=f"{run.directory.name}, epoch {epoch}, {name}")
            scores[name] = cached(
                run.directory / FOLDER / self.how.folder(self.target) / f"{name}-{epoch:03}.json",
                {"run": run.identity(), "target": self.target, **self.how.data(), **self.how.settings(part)},
                lambda part=part: self.scoring.part(part, pretrained()).to_json(),
                Score.from_json,
                overwrite=self.how.overwrite,
                current=current_settings,
            )
            self.progress.advance(self.bar)
        return scores

    @cached_property
    def images(self) -> Dataset:
        """Of the target."""
        wanted = replace(self.runs[0], dataset=self.target, files=None, **self.how.data())
        return build_data(wanted, torch.Generator())


def without_unit_norm(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a baseline as an earlier version wrote them, without what decides feature kernels only."""
    return {name: value for name, value in saved.items() if name != "unit_norm"}
