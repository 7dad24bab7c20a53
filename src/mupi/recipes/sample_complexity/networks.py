"""Networks trained by SGD, whose rate is the one that predicts held-out training rows best."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from mupi.activations import Activation
from mupi.data import Dataset
from mupi.features import Features, Hermite
from mupi.nets import CENTERED, MLP, Network, PiMLP, evaluating
from mupi.optim import SGD
from mupi.recipes.comparison.choice import Choice, Fitted, choose

DEPTH = 2
"""Hidden layers of all networks."""

RANK = 32
"""r of π-limits."""

BIAS = 0.5
"""Biases learn at this multiple of the rate."""

DROP = 0.15
"""What the rate is multiplied by towards the end."""

DROP_AFTER = 0.75
"""Of the steps."""

HELD_OUT = 5
"""One of so many training rows is held out to choose the rate on."""

HERMITE = Hermite(2)
"""Constant memory; of `CENTERED`, the activation that is taken if none is said, this is the exact limit."""

Make = Callable[[int, int, torch.Generator], Network]
"""From columns, classes and a generator of initial values to a network."""


def pi_network(features: Features = HERMITE, activation: Activation = CENTERED) -> Make:
    """The π-limit, or a π-net.

    Args:
        features: The feature map of its layers.
        activation: φ, of every hidden layer.
    """
    return lambda d, k, generator: PiMLP(
        d, k, RANK, DEPTH, features=features, activation=activation, generator=generator
    )


def mup_network(width: int) -> Make:
    """A finite network in μP, with biases, that is zero at the start, as π-limits are.

    Args:
        width: n, neurons in each hidden layer.
    """
    return lambda d, k, generator: MLP(d, k, width, DEPTH, bias_scale=0.5, readout_std=0.0, generator=generator)


@dataclass(frozen=True)
class Training:
    """How a network is trained: SGD whose rate drops once.

    Attributes:
        rates: Those that are tried.
        steps: Of SGD.
        batch_size: Rows a step.
        weight_decay: Of all weights.
        clip: The largest norm of a parameter's gradient.
    """

    rates: tuple[float, ...] = (1.0, 2.0, 4.0)
    steps: int = 600
    batch_size: int = 100
    weight_decay: float = 1e-3
    clip: float = 0.4


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that has been trained.

    Attributes:
        net: The network.
    """

    net: Network

    @torch.no_grad()
    def predict(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Outputs."""
        with evaluating(self.net):
            return torch.cat([self.net(rows) for rows in X.split(500)])


def fresh(make: Make, data: Dataset, seed: int) -> tuple[Network, torch.Generator]:
    """A network for these rows and classes, and the generator that has drawn its initial values.

    Args:
        make: Makes it.
        data: What it is for.
        seed: Of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    return make(data.train_x.shape[1], len(data.classes), generator), generator


def train(net: Network, data: Dataset, rate: float, how: Training, generator: torch.Generator) -> Trained:
    """Descend the cross-entropy.

    Args:
        net: Is trained.
        data: Whose training rows it sees.
        rate: At the first step.
        how: All else.
        generator: Draws the order of rows.

    Raises:
        FloatingPointError: If training diverges.
    """
    optimizer = SGD(net.parameter_groups(rate, bias=BIAS, weight_decay=how.weight_decay), clip=how.clip)
    drop = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(DROP_AFTER * how.steps)], DROP)
    rows: Sequence[Tensor] = ()
    for _ in range(how.steps):
        if not rows:
            rows = torch.randperm(len(data.train_x), generator=generator).split(how.batch_size)
        batch, *rows = rows
        optimizer.zero_grad()
        loss = cross_entropy(net(data.train_x[batch]), data.train_y[batch])
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"training diverged at rate {rate:g}")
        loss.backward()
        optimizer.step()
        drop.step()
    return Trained(net)


def fit_network(make: Make, data: Dataset, how: Training, seed: int) -> Choice[Trained]:
    """`fit_by_network`, of which the network itself predicts."""
    return fit_by_network(make, data, how, seed, lambda trained, _: trained)


def fit_by_network(
    make: Make, data: Dataset, how: Training, seed: int, use: Callable[[Trained, Dataset], Fitted]
) -> Choice[Fitted]:
    """Train with each rate on four fifths of the training rows, and with the one that predicts the others best on all.

    Args:
        make: Makes the network.
        data: Test rows take no part.
        how: With the rates.
        seed: Of initial values, order of rows, and which are held out.
        use: From the trained network and its rows to what predicts.

    Raises:
        FloatingPointError: If training diverges at every rate.
    """

    def fit(rate: float, part: Dataset) -> Fitted:
        net, generator = fresh(make, part, seed)
        return use(train(net, part, rate, how, generator), part)

    split = torch.Generator().manual_seed(seed)
    return choose(how.rates, fit, data, data.split_validation(len(data.train_x) // HELD_OUT, split))
