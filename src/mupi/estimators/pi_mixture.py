"""What estimators by π-limits have in common: networks and kernels, and the shares in which they are mixed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from mupi.checks import fail, positive_int
from mupi.estimators.candidates import LEAST_SHARE, candidates, metrics
from mupi.estimators.conventions import TableEstimator
from mupi.estimators.held_out import parts
from mupi.estimators.importances import gradient_outer_product
from mupi.estimators.kernel_machine import compared_rows
from mupi.estimators.pi_ensemble import Loss, PiSettings, learner, pass_once, train_pi_ensemble
from mupi.estimators.table import Table, standardized
from mupi.layers import LayerError

Judge = Callable[[Float[np.ndarray, "n k"], Table], float]
"""Of held-out predictions and their rows: the less, the better."""


class PiEstimator(TableEstimator):
    """What `PiClassifier` and `PiRegressor` have in common."""

    def __init__(
        self,
        rank: Any = 32,
        depth: Any = 2,
        activation: Any = None,
        *,
        degree: Any = 2,
        lr: Any = 1.0,
        first: Any = 1.0,
        weight_decay: Any = 1e-3,
        batch_size: Any = 32,
        steps: Any = None,
        networks: Any = 4,
        kernels: Any = True,
        random_state: Any = None,
        verbose: Any = False,
    ):
        self.rank = rank
        self.depth = depth
        self.activation = activation
        self.degree = degree
        self.lr = lr
        self.first = first
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.steps = steps
        self.networks = networks
        self.kernels = kernels
        self.random_state = random_state
        self.verbose = verbose

    def _settings(self) -> PiSettings:
        name = type(self).__name__
        for argument in ("rank", "depth", "degree", "batch_size") + (("steps",) if self.steps is not None else ()):
            positive_int(f"{name}({argument}=...)", getattr(self, argument))
        if positive_int(f"{name}(networks=...)", self.networks) < 2:
            fail(f"{name}(networks=...)", "at least 2, each of which leaves out a part of the rows", self.networks)
        return PiSettings(
            self.rank, self.depth, self._activation, self.degree, self.lr, self.first, self.weight_decay,
            self.batch_size,
        )  # fmt: skip

    def error_report(self, X: Any) -> list[LayerError]:
        """How far each layer of the π-limits is from the exact limit's: see `mupi.error_report`.

        Of an activation that is no polynomial of ``degree``, such as ReLU, they are those of a truncated kernel; a
        higher ``degree`` comes nearer.

        >>> import numpy as np
        >>> from mupi.estimators import PiRegressor
        >>> X = np.random.RandomState(0).standard_normal((100, 4))
        >>> model = PiRegressor(rank=8, networks=2, steps=100, random_state=0).fit(X, abs(X[:, 0]))
        >>> bool(max(layer.output for layer in model.error_report(X)) < 0.1)
        True

        Args:
            X: Rows with the columns of `fit`; some hundreds tell as much as all.

        Returns:
            For each layer, that of the network where its output is farthest.
        """
        rows = self._rows(X)
        x = torch.from_numpy(rows).float()
        reports = [one.net.error_report(x) for one in self._learners]
        return [max(layers, key=lambda layer: layer.output) for layers in zip(*reports, strict=True)]

    def _fit_models(
        self, X: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"], weight: np.ndarray, loss: Loss, judge: Judge
    ) -> None:
        """Train, compare, and keep each model that has a share; which have, is up to `_shares`."""
        settings, random = self._settings(), check_random_state(self.random_state)
        table, self._scaler = standardized(X, y, weight)
        if len(table.x) < 2:
            fail(f"{type(self).__name__}.fit(X)", "of two rows or more that differ", f"n_samples = {len(X)}")
        part = parts(table.y, min(self.networks, len(table.x)), random)
        ensemble = train_pi_ensemble(
            settings, table, part, loss, lambda f: judge(f, table), self.steps, random,
            Console() if self.verbose else None,
        )  # fmt: skip
        self.steps_, self.held_out_losses_ = ensemble.steps, np.array(ensemble.losses)
        self._learners = ensemble.learners
        found, metric = metrics(ensemble, table, part)
        self._look(metric)
        rows = compared_rows(len(table.x), random)
        few = table.take(rows)
        models = candidates(
            ensemble, found if self.kernels else {}, self._activation, table, part, rows, lambda f: judge(f, few)
        )
        shares, sharpness = self._shares([model.held_out for model in models], few)
        shares = np.where(shares < LEAST_SHARE, 0, shares) / shares[shares >= LEAST_SHARE].sum()
        self.shares_ = {model.name: float(share) for model, share in zip(models, shares, strict=True)}
        self._models = [
            (model.fit(), share, β) for model, share, β in zip(models, shares, sharpness, strict=True) if share
        ]

    def _shares(self, held_out: list[np.ndarray], rows: Table) -> tuple[np.ndarray, list[float]]:
        """Of each model, positive, of sum 1; and how sharp its probabilities are, 1 where outputs are numbers."""
        raise NotImplementedError  # of what is learned

    def _pass(self, X: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"], weight: np.ndarray, loss: Loss) -> None:
        """Train every π-limit on all these rows once, and leave out the kernels."""
        settings = self._settings()
        if not hasattr(self, "_learners"):
            self._scaler = StandardScaler().fit(X, sample_weight=weight)
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.networks)
            rows = np.arange(len(X))
            self._learners = tuple(learner(settings, X.shape[1], y.shape[1], rows, int(seed)) for seed in seeds)
        kept = weight > 0
        table = Table(np.asarray(self._scaler.transform(X[kept])), y[kept], weight[kept])
        ensemble = pass_once(self._learners, loss, table, self.batch_size)
        self._models, self.shares_ = [(ensemble, 1.0, 1.0)], {"π-limits": 1.0}
        self._look(np.mean([gradient_outer_product(net, table.x, table.weight) for net in ensemble.nets], 0))

    def _look(self, metric: Float[np.ndarray, "d d"]) -> None:
        """Say what columns the networks look at."""
        self.metric_, importance = metric, metric.diagonal()
        self.feature_importances_ = importance / (importance.sum() or 1.0)
