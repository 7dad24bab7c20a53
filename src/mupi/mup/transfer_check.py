"""`transfer_check`: does the best learning rate of a narrow network suit a wide one, and what does moving it cost?"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from mupi.arrays import takes_numpy
from mupi.checks import positive_int
from mupi.distributed.processes import Processes
from mupi.distributed.sharing import sharing
from mupi.distributed.turns import in_turn
from mupi.mup.builders import builders
from mupi.mup.kept_runs import KeptRuns, kept_runs
from mupi.mup.rate_sweep import RateSweep, check_grid
from mupi.mup.sweep import Procedure
from mupi.training.settings import plain

LAST = 10
"""The loss of a run is the mean over the last of so many parts of its steps."""


@takes_numpy
def transfer_check(
    make_model: Callable[[int], nn.Module],
    widths: Sequence[int],
    x: Shaped[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    rates: Sequence[float],
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    optimizer: type[Optimizer] = torch.optim.AdamW,
    base_width: int | None = None,
    steps: int = 200,
    batch_size: int = 64,
    seeds: int = 3,
    test: tuple[Tensor, Tensor] | None = None,
    parametrized: bool = True,
    make_optimizer: Callable[[nn.Module, float], Optimizer] | None = None,
    drift_bar: float = 0.25,
    excess_bar: float = 0.05,
    directory: Path | str | None = None,
    console: Console | None = None,
    shared: bool | None = None,
    **options: Any,
) -> RateSweep:
    """Train at every width, rate and seed, and say whether the best rate stays as the width grows.

    What a run is judged by is the mean loss of the batches of the last tenth of its steps, each before its step: an
    average over many batches costs nothing, and the last batch's alone is noise. With ``test`` it is the loss on those
    after the last step. Each seed has its own initial values and its own order of batches; a seed's order is the same
    at every width and rate.

    The verdict (`RateSweep.verdict`) is about moving the best rate of the narrowest width to the widest: it transfers
    if the best rates differ by less than ``drift_bar`` octaves and the moved one costs less than ``excess_bar``, both
    with their 95 % intervals; `RateSweep.explain` says it in a line, `RateSweep.plot` shows it.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(4, n), nn.Tanh(), nn.Linear(n, 1))
    >>> x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    >>> found = transfer_check(make_model, [8, 32], x, x[:, :1].sin(), loss=nn.functional.mse_loss, steps=10, seeds=2,
    ...                        rates=[2.0**k for k in range(-9, 0, 2)])
    >>> found.losses.shape, found.verdict.name in ("TRANSFERS", "FAILS", "UNDECIDED", "WIDEN")
    ((2, 5, 2), True)

    Args:
        make_model: From a width to a model, drawn with torch's global generator (seeded here; its state is restored).
        widths: At least two.
        x: Training inputs.
        y: Their targets.
        rates: At least three learning rates, best of a constant ratio of √2 to 2, the best one well inside.
        loss: Of the model's output and the targets of its inputs; positive.
        optimizer: Class of the optimizer.
        base_width: At which `mupi.parametrize` changes nothing; None for the narrowest width.
        steps: Optimizer steps of a run.
        batch_size: Inputs a step.
        seeds: Runs at each width and rate; for one there is no interval, and so no verdict.
        test: Inputs and targets, on which runs are judged in place of the training batches.
        parametrized: Whether models are put into μP by `mupi.parametrize`; if not they are trained as they come, all
            parameters at one rate.
        make_optimizer: From a model and a rate to its optimizer, for a parametrization of one's own: in place of
            ``optimizer`` and ``parametrized``.
        drift_bar: Octaves by which the best rate may differ.
        excess_bar: Relative excess that the loss of the moved rate may have.
        directory: A folder in which every run is kept as soon as it ends. The same call goes on there after Ctrl-C, and
            with more widths, rates or seeds trains those that are missing.
        console: Where to show progress; None for nowhere.
        shared: Whether the processes of torch.distributed's default group take the runs in turn, in a folder that all
            see; all make the same call. False for all runs in each. Where there are several, one has to be said.
        **options: Of the optimizer.

    Raises:
        ValueError: For numbers out of range, or a folder of other runs.
    """
    call = "transfer_check"
    widths, rates = tuple(sorted({positive_int(f"{call}(widths=...)", n) for n in widths})), tuple(sorted(set(rates)))
    check_grid(call, widths, rates)
    base = widths[0] if base_width is None else positive_int(f"{call}(base_width=...)", base_width)
    builder, settings = builders(
        call, make_model, widths[-1], base, x[:1], optimizer, make_optimizer, parametrized, options
    )
    procedure = Procedure(
        builder=builder, x=x, y=y, loss=loss, steps=steps, batch_size=batch_size,
        settings={**settings, "test": plain(test)},
    )  # fmt: skip

    def train(width: int, rate: float, seed: int) -> float:
        losses = procedure.run(width, rate, seed, order=seed, test=test)
        last = losses[-math.ceil(len(losses) / LAST) :]
        return sum(last) / len(last)

    def first_losses() -> list[float]:
        return procedure.run(widths[0], min(rates), seed=0, order=0, steps=2)

    seeds, processes = positive_int(f"{call}(seeds=...)", seeds), sharing(f"{call}(shared=...)", shared)
    with kept_runs(directory, procedure.plain(), first_losses, call, processes) as runs:
        losses = _swept(train, widths, rates, seeds, runs, console, processes)
    return RateSweep(widths, rates, losses, drift_bar, excess_bar)


def sweep_rates(
    train: Callable[[int, float, int], float],
    widths: Sequence[int],
    rates: Sequence[float],
    *,
    seeds: int = 3,
    drift_bar: float = 0.25,
    excess_bar: float = 0.05,
    directory: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    console: Console | None = None,
    shared: bool | None = None,
) -> RateSweep:
    """The same for a training that is a function of one's own.

    >>> found = sweep_rates(lambda width, rate, seed: 1 + (rate - 0.1) ** 2, [8, 16], [0.05, 0.1, 0.2])
    >>> found.passed
    True

    Args:
        train: From width, rate and seed to a positive loss; infinite or NaN if training diverges.
        widths: At least two.
        rates: At least three.
        seeds: Runs at each width and rate, numbered from 0.
        drift_bar: As in `transfer_check`.
        excess_bar: As there.
        directory: As there; what ``train`` is the folder cannot know but by its name and ``settings``.
        settings: What else decides a run, as JSON has it: a folder of others is refused.
        console: As there.
        shared: As there.

    Raises:
        ValueError: As there.
    """
    call = "sweep_rates"
    widths, rates = tuple(sorted({positive_int(f"{call}(widths=...)", n) for n in widths})), tuple(sorted(set(rates)))
    check_grid(call, widths, rates)
    seeds, processes = positive_int(f"{call}(seeds=...)", seeds), sharing(f"{call}(shared=...)", shared)
    with kept_runs(directory, {"train": plain(train), **(settings or {})}, None, call, processes) as runs:
        losses = _swept(train, widths, rates, seeds, runs, console, processes)
    return RateSweep(widths, rates, losses, drift_bar, excess_bar)


def _swept(
    train: Callable[[int, float, int], float],
    widths: tuple[int, ...],
    rates: tuple[float, ...],
    seeds: int,
    runs: KeptRuns,
    console: Console | None,
    processes: Processes,
) -> np.ndarray:
    """(widths, rates, seeds); a whole sweep of one seed before the next begins."""
    pieces = {
        (width, rate, seed): f"seed {seed}, width {width}, rate {rate:.3g}"
        for seed in range(seeds)
        for width in widths
        for rate in rates
    }
    found = in_turn(processes, pieces, lambda run: runs.losses(*run, lambda: [train(*run)])[0], console)
    return np.array([[[found[width, rate, seed] for seed in range(seeds)] for rate in rates] for width in widths])
