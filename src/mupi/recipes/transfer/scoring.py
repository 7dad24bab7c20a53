"""The ways of using features: each takes a representation and gives a `Score`."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rich.progress import Progress

from mupi.commands.train.train import MB
from mupi.data import Dataset
from mupi.kernels import Kernel, KernelRegression, centered_one_hot
from mupi.nets import MLPKernel
from mupi.recipes.comparison.choice import Choice, choose, right
from mupi.recipes.comparison.learned_kernel import ALIGNMENT_IMAGES, label_alignment
from mupi.recipes.transfer.config import EvaluationConfig
from mupi.recipes.transfer.logistic_probe import LogisticProbe
from mupi.recipes.transfer.parts import (
    Baseline,
    FeatureKernel,
    NewReadout,
    Part,
    Probe,
    UnitNNGPBaseline,
    UnitNTKBaseline,
)
from mupi.recipes.transfer.readout import Readout, train_readout
from mupi.recipes.transfer.representation import Regression, Representation
from mupi.recipes.transfer.score import Score, pack
from mupi.training.memory_use import PeakMemory


class Scoring:
    """Scores representations as a configuration says, and shows the stages.

    Args:
        config: The configuration of the evaluation.
        progress: The display that shows how far it is.
    """

    def __init__(self, config: EvaluationConfig, progress: Progress):
        self.config = config
        self.progress = progress

    def part(self, part: Part, pretrained: Representation) -> Score:
        """One way of using a pretrained network."""
        match part:
            case FeatureKernel():
                return self.kernel(part, pretrained)
            case Probe():
                return self.probe(part, pretrained)
            case NewReadout():
                return self.readout(part, pretrained)

    def kernel(self, part: FeatureKernel, pretrained: Representation) -> Score:
        """Regression with the feature kernel."""
        make, kernel, data = pretrained.regression(part.unit_norm, part.double)
        return self._regression(part.ridges, make, kernel, data)

    def baseline(self, baseline: Baseline, kernel: MLPKernel, data: Dataset) -> Score:
        """Regression with a kernel of the images, scaled to norm 1 if it is one of such."""
        if isinstance(baseline, UnitNNGPBaseline | UnitNTKBaseline):
            # √d, so that coordinates are of size 1 as usual.
            scale = data.train_x.shape[1] ** 0.5
            normalize = torch.nn.functional.normalize
            data = replace(data, train_x=scale * normalize(data.train_x), test_x=scale * normalize(data.test_x))
        if baseline.double:
            data = replace(data, train_x=data.train_x.double(), test_x=data.test_x.double())
        return self._regression(baseline.ridges, lambda ridge: KernelRegression(kernel, ridge), kernel, data)

    def probe(self, part: Probe, pretrained: Representation) -> Score:
        """Logistic regression on the last hidden layer."""
        data = pretrained.probed()

        def fit(penalty: float, part: Dataset) -> LogisticProbe:
            return LogisticProbe(penalty, len(part.classes)).fit(part.train_x, part.train_y)

        return self._score(part.penalties, fit, data)

    def readout(self, part: NewReadout, pretrained: Representation) -> Score:
        """SGD on the readout."""

        def fit(rate: float, data: Dataset) -> Readout:
            steps = part.readout_epochs * -(-len(data.train_x) // part.readout_batch_size)
            task = self.progress.add_task(f"readout at rate {rate:g}", total=steps)
            try:
                return train_readout(
                    pretrained,
                    data,
                    rate=rate,
                    epochs=part.readout_epochs,
                    batch_size=part.readout_batch_size,
                    after_steps=lambda steps: self.progress.advance(task, steps),
                )
            finally:
                self.progress.remove_task(task)

        return self._score(part.rates, fit, pretrained.layer)

    def _regression(
        self, ridges: tuple[float, ...], make: Callable[[float], Regression], kernel: Kernel, data: Dataset
    ) -> Score:
        def fit(ridge: float, part: Dataset) -> Regression:
            targets = centered_one_hot(part.train_y, len(part.classes), part.train_x.dtype)
            try:
                return make(ridge).fit(part.train_x, targets, self.progress)
            finally:
                for task in self.progress.task_ids[1:]:  # the stages; the first is the whole evaluation
                    self.progress.remove_task(task)

        few = data.test_x[:ALIGNMENT_IMAGES]
        with torch.no_grad():
            alignment = label_alignment(kernel(few, few), data.test_y)
        return self._score(ridges, fit, data, alignment=alignment)

    def _score(
        self, values: tuple[float, ...], fit: Callable[[float, Dataset], Any], data: Dataset, **more: Any
    ) -> Score:
        """Choose, fit and test, and measure what it takes."""
        memory, start = PeakMemory(data.train_x.device), time.perf_counter()
        chosen: Choice[Any] = choose(values, fit, data, held_out(self.config, data))
        answers = right(chosen.predictor, data.test_x, data.test_y)
        return Score(
            value=chosen.value,
            validation=chosen.validation,
            answers=pack(answers),
            images=len(answers),
            residual=getattr(chosen.predictor, "residual", None),
            seconds=time.perf_counter() - start,
            peak_mb=memory.growth() / MB,
            **more,
        )


def held_out(config: EvaluationConfig, data: Dataset) -> Dataset:
    """Training images to try values on, and others to choose by; the same for all networks and epochs."""
    n = len(data.train_x)
    validation = max(1, min(config.validation_size, n // 3))
    fit = max(1, min(config.fit_size, 2 * n // 3))
    generator = torch.Generator().manual_seed(config.data_seed)
    return data.split_validation(validation, generator).take(min(fit, n - validation), generator)
