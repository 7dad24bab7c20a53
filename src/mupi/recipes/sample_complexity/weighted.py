"""A kernel that learns nothing, of columns that are weighted by what the π-limit has learned to look at."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.data import Dataset
from mupi.kernels import KernelRegression
from mupi.nets import CENTERED, NNGP, Network
from mupi.recipes.comparison.choice import Choice
from mupi.recipes.sample_complexity.networks import DEPTH, Training, fit_by_network, pi_network

RIDGE = 1e-2
"""In units of the kernel's mean diagonal; from 1e-3 to 1e-1 it hardly matters."""

SIGMA_B = 0.3


def importances(net: Network) -> Float[Tensor, " d"]:
    """How much of the first layer's weight each column has: |A_i|²/|A|², of sum 1.

    Args:
        net: With a first layer named ``input``, of weight A (d, r).
    """
    squares = net.get_parameter("input.weight").detach().square().sum(1)
    return squares / squares.sum()


@dataclass(frozen=True, eq=False)
class Weighted:
    """Regression on weighted columns.

    Attributes:
        weights: What each column is multiplied by.
        regression: On the columns so weighted.
    """

    weights: Float[Tensor, " d"]
    regression: KernelRegression

    @torch.no_grad()
    def predict(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Outputs."""
        return self.regression.predict(X.double() * self.weights)


def weighted_by(net: Network, data: Dataset) -> Weighted:
    """NNGP regression on √(d·importance) times each column: as they are, where all are alike to the network.

    Args:
        net: Whose importances; it has seen no other rows than ``data``'s training rows.
        data: To learn from.
    """
    weights = (importances(net).double() * data.train_x.shape[1]).sqrt()
    regression = KernelRegression(NNGP(DEPTH, CENTERED, sigma_b=SIGMA_B), RIDGE)
    regression.fit(data.train_x.double() * weights, data.train_y, classes=len(data.classes))
    return Weighted(weights, regression)


def fit_weighted(data: Dataset, how: Training, seed: int) -> Choice[Weighted]:
    """`fit_by_network`, of which a kernel on the π-limit's columns predicts."""
    return fit_by_network(pi_network(), data, how, seed, lambda trained, part: weighted_by(trained.net, part))
