"""Finite networks on their way to the exact limit, and constant memory beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from mupi.activations import ReLU
from mupi.data import Dataset
from mupi.features import Atoms, Features, RandomFeatures
from mupi.recipes.comparison.choice import right
from mupi.recipes.sample_complexity.networks import HERMITE, Trained, Training, fresh, pi_network, train

WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)

HOW = Training(steps=200, batch_size=32)
"""A short training: the exact limit keeps two atoms of each row that it has seen."""

RATE = 1.0


@dataclass(frozen=True)
class Distance:
    """A network beside the exact limit of the same initial values, trained on the same rows in the same order.

    Attributes:
        name: What it is, in words.
        width: n; None for infinite.
        accuracies: On test rows, 0 to 1, by seed.
        distances: ‖f − f_∞‖/‖f_∞‖ of the outputs on test rows, by seed; 0 for the exact limit itself.
    """

    name: str
    width: int | None
    accuracies: tuple[float, ...]
    distances: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Mean."""
        return fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy over seeds, 0 for one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def distance(self) -> float:
        """Mean."""
        return fmean(self.distances)


def distances(
    data: Dataset, seeds: Sequence[int], widths: Sequence[int], begin: Callable[[str], None]
) -> list[Distance]:
    """π-nets by width, then the π-limit at constant memory and the exact one, all of ReLU.

    Args:
        data: To learn from.
        seeds: Of initial values and of the order of rows.
        widths: Of the finite ones, at least the rank.
        begin: Told what comes next.
    """
    kinds: list[tuple[str, int | None, Features]] = [
        *((f"π-net, n = {n:,}", n, RandomFeatures(n)) for n in widths),
        ("n = ∞, constant memory", None, HERMITE),
    ]
    exact = []
    for seed in seeds:
        begin(f"the exact limit, seed {seed}")
        exact.append(_trained(Atoms(), data, seed))
    answers = [one.predict(data.test_x) for one in exact]
    found = []
    for name, width, features in kinds:
        begin(name)
        nets = [_trained(features, data, seed) for seed in seeds]
        off = [_distance(net, data, answer) for net, answer in zip(nets, answers, strict=True)]
        found.append(Distance(name, width, _accuracies(nets, data), tuple(off)))
    return [*found, Distance("n = ∞, exact (Atoms)", None, _accuracies(exact, data), (0.0,) * len(exact))]


def _trained(features: Features, data: Dataset, seed: int) -> Trained:
    net, _ = fresh(pi_network(features, ReLU()), data, seed)
    # Of its own, since networks of different widths draw differently much.
    return train(net, data, RATE, HOW, torch.Generator().manual_seed(seed))


def _accuracies(nets: Sequence[Trained], data: Dataset) -> tuple[float, ...]:
    return tuple(float(right(net, data.test_x, data.test_y).double().mean()) for net in nets)


def _distance(net: Trained, data: Dataset, answer: torch.Tensor) -> float:
    return float((net.predict(data.test_x) - answer).norm() / answer.norm())
