"""Kernels, finite networks and the infinitely wide one that learns features, on three tasks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mupi.data import Dataset
from mupi.nets import Network
from mupi.recipes.comparison.choice import Predictor, right
from mupi.recipes.sample_complexity.methods import SHOWN, scored
from mupi.recipes.sample_complexity.networks import Make, Training, fresh, mup_network, pi_network, train
from mupi.recipes.sample_complexity.tasks import TASKS
from mupi.recipes.sample_complexity.weighted import weighted_by

ROWS = {"signs": 1000, "noisy-digits": 1442, "digits": 1442}
"""Training rows of each task."""

FINITE: dict[str, float] = {"signs": 4.0, "noisy-digits": 1.0, "digits": 1.0}
INFINITE: dict[str, float] = {"signs": 4.0, "noisy-digits": 2.0, "digits": 2.0}
"""Rates, as `mupi recipe sample-complexity` chooses them on held-out training rows; here they are not chosen anew."""

LEARNER = "π-limit"

NETWORKS: dict[str, tuple[Make, dict[str, float]]] = {
    "network in μP, n = 64": (mup_network(64), FINITE),
    "network in μP, n = 512": (mup_network(512), FINITE),
    LEARNER: (pi_network(), INFINITE),
}

WEIGHTED = SHOWN["weighted-nngp"]

NAMES = (SHOWN["nngp"], SHOWN["ntk"], *NETWORKS, WEIGHTED)


@dataclass(frozen=True)
class Outcome:
    """A method on a task.

    Attributes:
        task: Name of the task.
        method: As it is called in text.
        accuracy: On test rows, 0 to 1.
        seconds: Of fitting, and predicting.
    """

    task: str
    method: str
    accuracy: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Looked:
    """The π-limit before and after it was trained.

    Attributes:
        data: What it learned.
        before: The network at the start.
        after: The same, trained.
    """

    data: Dataset
    before: Network
    after: Network


def contests(seed: int, begin: Callable[[str], None]) -> Iterator[tuple[Outcome, Looked | None]]:
    """Each method on each task; with what has been learned, for the π-limit.

    Args:
        seed: Of what is drawn.
        begin: Told what comes next.
    """
    for name, rows in ROWS.items():
        data = TASKS[name].split(rows, seed)
        for kernel in ("nngp", "ntk"):
            begin(f"{TASKS[name].title}: {SHOWN[kernel]}")
            found = scored(kernel, data, seed, 0)
            yield Outcome(name, SHOWN[kernel], found.accuracy, found.seconds), None
        for method, (make, rates) in NETWORKS.items():
            begin(f"{TASKS[name].title}: {method}")
            start = time.perf_counter()
            net, generator = fresh(make, data, seed)
            trained = train(net, data, rates[name], replace(Training(), rates=()), generator)
            outcome = Outcome(name, method, _accuracy(trained, data), time.perf_counter() - start)
            if method != LEARNER:
                yield outcome, None
                continue
            yield outcome, Looked(data, fresh(make, data, seed)[0], net)
            begin(f"{TASKS[name].title}: {WEIGHTED}")
            start = time.perf_counter()
            accuracy = _accuracy(weighted_by(net, data), data)
            yield Outcome(name, WEIGHTED, accuracy, time.perf_counter() - start), None


def _accuracy(fitted: Predictor, data: Dataset) -> float:
    return float(right(fitted, data.test_x, data.test_y).double().mean())
