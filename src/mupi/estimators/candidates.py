"""What an estimator is made of: π-limits, and kernels with and without their metric, each with held-out predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mupi.activations import Activation
from mupi.estimators.importances import gradient_outer_product
from mupi.estimators.kernel_machine import SIGMA_B
from mupi.estimators.metric_machine import (
    MetricMachine,
    Root,
    best_ridge,
    fit_metric_machine,
    held_out_by_ridge,
    metric_root,
)
from mupi.estimators.pi_ensemble import PiEnsemble
from mupi.estimators.table import Table
from mupi.nets import NNGP

KERNEL_DEPTHS = (1, 3)

LEAST_SHARE = 0.02
"""Of a mixture: what has less is left out."""


@dataclass(frozen=True)
class Metric:
    """A metric of the columns, learned without each part, and by all.

    Attributes:
        parts: P for each part that is left out.
        all: P for new rows.
    """

    parts: Sequence[Root]
    all: Root


def metrics(ensemble: PiEnsemble, table: Table, part: Int[np.ndarray, " n"]) -> tuple[dict[str, Metric], np.ndarray]:
    """None, and the one that π-limits have learned, in full and its diagonal; and this last itself.

    The diagonal, weights of columns, has d numbers to learn where the whole (`gradient_outer_product`) has d²: it is
    the better one where some columns matter and the rest is noise.

    Args:
        ensemble: π-limits, one for each part.
        table: Rows.
        part: To which part each row belongs.
    """
    seen = [
        gradient_outer_product(net, table.x[part != i], table.weight[part != i]) for i, net in enumerate(ensemble.nets)
    ]
    mean, one = np.mean(seen, 0), np.eye(table.x.shape[1])
    columns, all_columns = [np.diag(metric.diagonal()) for metric in seen], np.diag(mean.diagonal())
    return {
        "NNGP": Metric([one] * len(seen), one),
        "NNGP in the learned metric": Metric([metric_root(metric) for metric in seen], metric_root(mean)),
        "NNGP on weighted columns": Metric([metric_root(metric) for metric in columns], metric_root(all_columns)),
    }, mean


@dataclass(frozen=True)
class Candidate:
    """A model, not yet fitted to all rows.

    Attributes:
        name: What it is, in words.
        held_out: What it made of rows that it had not seen.
        fit: To all rows; what it returns predicts outputs of new ones.
    """

    name: str
    held_out: Float[np.ndarray, "m k"]
    fit: Callable[[], PiEnsemble | MetricMachine]


def candidates(
    ensemble: PiEnsemble,
    metrics: dict[str, Metric],
    activation: Activation | Callable,
    table: Table,
    part: Int[np.ndarray, " n"],
    rows: Int[np.ndarray, " m"],
    judge: Callable[[Float[np.ndarray, "m k"]], float],
) -> list[Candidate]:
    """The π-limits, and kernels of infinitely wide networks that do not learn, in each metric.

    Those at the start (`mupi.NNGP`): on 26 of KEEL's tables left-out training rows are predicted better by them than by
    tangent kernels, on 16, with a log loss that is 5 % smaller in the geometric mean.

    Args:
        ensemble: π-limits, one for each part.
        metrics: By their names.
        activation: φ of the kernels.
        table: Rows; their targets are centered.
        part: To which part each row belongs.
        rows: Those that kernels are compared on.
        judge: How bad held-out predictions of these rows are.
    """
    found = [Candidate("π-limits", ensemble.held_out[rows], lambda: ensemble)]
    few = table.take(rows)
    for name, metric in metrics.items():
        for depth in KERNEL_DEPTHS:
            kernel = NNGP(depth, activation, sigma_b=SIGMA_B)
            ridge, held_out = best_ridge(held_out_by_ridge(kernel, metric.parts, few, part[rows]), judge)

            def fit(kernel: NNGP = kernel, root: Root = metric.all, ridge: float = ridge) -> MetricMachine:
                return fit_metric_machine(kernel, root, ridge, table)

            found.append(Candidate(f"{name}, depth {depth}", held_out, fit))
    return found
