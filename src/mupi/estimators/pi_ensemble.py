"""π-limits trained side by side, each without a part of the table, until what was left out is predicted best."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor

from mupi.activations import Activation
from mupi.estimators.table import Table
from mupi.features import Hermite
from mupi.layers.evaluating import evaluating
from mupi.nets import PiMLP
from mupi.optim import SGD
from mupi.progress import counted

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of outputs, targets and weights of rows: the weighted sum over rows."""

LOOKS = 60
"""How often held-out rows are predicted in training, at most."""

PATIENCE = 24
"""Training ends when so many looks in a row have found nothing better: curves of small tables have several dips."""

LEARNED = 0.98
"""But not before something has been learned, the loss being below this share of what it was at first: features of high
order are found after a long plateau."""

PASSES = 25
"""Through all rows, if the number of steps is not said; `FEWEST` steps at least."""

FEWEST = 1000


@dataclass(frozen=True)
class PiSettings:
    """How π-limits are trained.

    Attributes:
        rank: r of the π-limits.
        depth: Hidden layers.
        activation: φ of the π-limits.
        degree: Of the Hermite features.
        lr: Learning rate of hidden layers.
        first: Multiplier of the first layer's.
        weight_decay: Of all weights.
        batch_size: Rows a step.
        clip: The largest norm of a parameter's gradient.
    """

    rank: int
    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    degree: int
    lr: float
    first: float
    weight_decay: float
    batch_size: int
    clip: float = 0.5


@dataclass
class Learner:
    """A π-limit in training.

    Attributes:
        net: The network.
        optimizer: Of its parameters.
        rows: What it may see.
        generator: Draws the order of rows.
    """

    net: PiMLP
    optimizer: SGD
    rows: Int[Tensor, " m"]
    generator: torch.Generator

    def batches(self, size: int) -> Iterator[Int[Tensor, " batch"]]:
        """Rows of one step after the other, without end; each once before any comes again."""
        while True:
            yield from self.rows[torch.randperm(len(self.rows), generator=self.generator)].split(size)

    def step(self, loss: Loss, batch: Int[Tensor, " batch"], x: Tensor, y: Tensor, weight: Tensor) -> None:
        """Descend the mean loss of a batch."""
        self.optimizer.zero_grad()
        (loss(self.net(x[batch]), y[batch], weight[batch]) / len(batch)).backward()
        self.optimizer.step()


def learner(settings: PiSettings, d: int, k: int, rows: Int[np.ndarray, " m"], seed: int) -> Learner:
    """A new π-limit, at its initial values.

    Args:
        settings: How it is made and trained.
        d: Columns.
        k: How many outputs there are.
        rows: What it may see.
        seed: Of its initial values and the order of rows.
    """
    generator = torch.Generator().manual_seed(seed)
    net = PiMLP(
        d, k, settings.rank, settings.depth,
        features=Hermite(settings.degree), activation=settings.activation, generator=generator,
    )  # fmt: skip
    groups = net.parameter_groups(settings.lr, first=settings.first, weight_decay=settings.weight_decay)
    return Learner(net, SGD(groups, clip=settings.clip), torch.from_numpy(rows), generator)


@dataclass(frozen=True)
class PiEnsemble:
    """π-limits that were trained side by side.

    Attributes:
        learners: One for each part that was left out.
        held_out: What the net that has not seen a row makes of it, for each row.
        steps: After how many steps held-out rows were predicted best.
        losses: Their mean loss each time that it was measured.
    """

    learners: tuple[Learner, ...]
    held_out: Float[np.ndarray, "n k"]
    steps: int
    losses: tuple[float, ...]

    @property
    def nets(self) -> list[PiMLP]:
        """Their networks."""
        return [one.net for one in self.learners]

    @torch.no_grad()
    def predict(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """The mean of all nets' outputs for standardized rows."""
        blocks = torch.from_numpy(x).float().split(1024)
        return torch.cat([torch.stack([net(rows) for net in self.nets]).mean(0) for rows in blocks]).double().numpy()


def train_pi_ensemble(
    settings: PiSettings,
    table: Table,
    part: Int[np.ndarray, " n"],
    loss: Loss,
    judge: Callable[[Float[np.ndarray, "n k"]], float],
    most_steps: int | None,
    random: np.random.RandomState,
    console: Console | None,
) -> PiEnsemble:
    """One π-limit for each part of the rows, which it does not see; all stop where these are predicted best.

    How all rows are predicted, each by the net that has not seen it, is measured `LOOKS` times at the most; training
    ends when `PATIENCE` of them have found nothing better.

    Args:
        settings: How nets are made and trained.
        table: Rows.
        part: To which part each row belongs.
        loss: What is minimized.
        judge: How bad outputs for held-out rows are.
        most_steps: Steps of each net, at most; None for as many as `PASSES` through the rows take, or `FEWEST`.
        random: Draws seeds.
        console: Where to show progress; None for nowhere.
    """
    x, y, weight = (torch.from_numpy(values).float() for values in (table.x, table.y, table.weight))
    count = int(part.max()) + 1
    seeds = random.randint(2**31 - 1, size=count)
    learners = [
        learner(settings, x.shape[1], y.shape[1], np.flatnonzero(part != i), int(seeds[i])) for i in range(count)
    ]
    left_out = [torch.from_numpy(np.flatnonzero(part == i)) for i in range(count)]
    streams = [one.batches(settings.batch_size) for one in learners]
    if most_steps is None:
        most_steps = max(FEWEST, PASSES * len(x) // settings.batch_size)
    looks = min(LOOKS, most_steps)
    every = most_steps // looks
    held_out = torch.zeros_like(y)
    nothing = judge(held_out.double().numpy())
    best, best_steps, kept, losses, found = np.inf, 0, [one.net.state_dict() for one in learners], [], held_out
    with counted(looks, console) as begin:
        for look in range(1, looks + 1):
            begin(f"π-limits, {look * every} steps")
            for one, stream, rows in zip(learners, streams, left_out, strict=True):
                for _ in range(every):
                    one.step(loss, next(stream), x, y, weight)
                with torch.no_grad(), evaluating(one.net):
                    held_out[rows] = one.net(x[rows])
            losses.append(judge(held_out.double().numpy()))
            if losses[-1] < best:
                best, best_steps, found = losses[-1], look * every, held_out.clone()
                kept = [deepcopy(one.net.state_dict()) for one in learners]
            elif best < LEARNED * nothing and look >= best_steps // every + PATIENCE:
                break
    for one, state in zip(learners, kept, strict=True):
        one.net.load_state_dict(state)
        one.net.eval()
    return PiEnsemble(tuple(learners), found.double().numpy(), best_steps, tuple(losses))


def pass_once(learners: Sequence[Learner], loss: Loss, table: Table, batch_size: int) -> PiEnsemble:
    """All rows once, each net in its own order; nothing is held out.

    Args:
        learners: Are trained.
        loss: What is minimized.
        table: Rows.
        batch_size: Rows a step.
    """
    x, y, weight = (torch.from_numpy(values).float() for values in (table.x, table.y, table.weight))
    for one in learners:
        one.net.train()
        one.rows = torch.arange(len(x))
        stream = one.batches(batch_size)
        for _ in range(-(-len(x) // batch_size)):
            one.step(loss, next(stream), x, y, weight)
        one.net.eval()
    return PiEnsemble(tuple(learners), np.empty((0, table.y.shape[1])), 0, ())


def cross_entropy(prior: Float[np.ndarray, " k"]) -> Loss:
    """−Σ_c y_c log p_c for p ∝ prior·e^f, of targets less the prior.

    Args:
        prior: Shares of the classes.
    """
    shares = torch.from_numpy(prior).float()
    logs = shares.log()

    def loss(f: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return -(weight * ((y + shares) * torch.log_softmax(logs + f, 1)).sum(1)).sum()

    return loss


def half_square(f: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """½ |f − y|²."""
    return 0.5 * (weight * (f - y).square().sum(1)).sum()
