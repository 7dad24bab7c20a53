"""`forecast`: the loss curve of a wide network before it is trained, from narrow ones, with a band."""

from collections.abc import Callable, Sequence
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
from mupi.checks import fail, positive_int
from mupi.distributed.sharing import sharing
from mupi.distributed.turns import in_turn
from mupi.mup.builders import builders
from mupi.mup.kept_runs import kept_runs
from mupi.mup.sweep import Procedure, stretches
from mupi.mup.width_law import WidthLaw, check_widths

ORDER = 0
"""Seed of the batches' order, which all runs share."""


@takes_numpy
def forecast(
    make_model: Callable[[int], nn.Module],
    widths: Sequence[int],
    width: int | float,
    x: Shaped[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    lr: float,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    optimizer: type[Optimizer] = torch.optim.AdamW,
    base_width: int | None = None,
    steps: int = 200,
    batch_size: int = 64,
    seeds: int = 4,
    points: int = 20,
    level: float = 0.9,
    parametrized: bool = True,
    make_optimizer: Callable[[nn.Module, float], Optimizer] | None = None,
    directory: Path | str | None = None,
    console: Console | None = None,
    shared: bool | None = None,
    **options: Any,
) -> WidthLaw:
    """Train narrow networks, and forecast the loss curve of a wide one that is trained in the same way.

    The curve is the training loss, the mean over each of ``points`` equally long stretches of steps: single batches are
    noise. All runs have the same batches in the same order, so that seeds differ by their initial values alone; a wide
    run in another order differs from the forecast by that too. `mupi.mup.curves` trains runs of any width as they are
    meant here.

    What is returned has the mean, the band and the limit at each time, and says by a test of its residuals whether the
    narrow networks are wide enough for the law L(∞, t) + c(t)/n that is fitted: see `mupi.mup.WidthLaw`. The law holds
    in a parametrization that has a limit, as μP has; in standard parametrization there is none to forecast.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(4, n), nn.Tanh(), nn.Linear(n, 1))
    >>> x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    >>> known = dict(lr=0.05, loss=nn.functional.mse_loss, steps=12, seeds=3, points=4, base_width=8)
    >>> law = forecast(make_model, [8, 16, 32], 128, x, x[:, :1].sin(), **known)
    >>> law.mean.shape, law.widths
    ((4,), (8, 16, 32))

    Args:
        make_model: From a width to a model, drawn with torch's global generator (seeded here; its state is restored).
        widths: At least three, for the law to be tested.
        width: That of the wide network, beyond those; ``math.inf`` for the limit.
        x: Training inputs.
        y: Their targets.
        lr: Learning rate, at the base width.
        loss: Of the model's output and the targets of its inputs.
        optimizer: Class of the optimizer.
        base_width: At which `mupi.parametrize` changes nothing; None for the narrowest width.
        steps: Optimizer steps of a run.
        batch_size: Inputs a step.
        seeds: Runs at each width, at least 2.
        points: At how many times the curve is known.
        level: How much of such runs is to be in the band.
        parametrized: Whether models are put into μP by `mupi.parametrize`, or trained as they come.
        make_optimizer: From a model and a rate to its optimizer, for a parametrization of one's own: in place of
            ``optimizer`` and ``parametrized``.
        directory: A folder in which every run is kept as soon as it ends; the same call goes on there.
        console: Where to show progress; None for nowhere.
        shared: Whether the processes of torch.distributed's default group take the runs in turn, in a folder that all
            see; all make the same call. False for all runs in each. Where there are several, one has to be said.
        **options: Of the optimizer.

    Raises:
        ValueError: For numbers out of range, runs that diverge, or a folder of other runs.
    """
    call = "forecast"
    widths = tuple(sorted({positive_int(f"{call}(widths=...)", n) for n in widths}))
    check_widths(call, widths, width)
    if positive_int(f"{call}(seeds=...)", seeds) < 2:
        fail(f"{call}(seeds=...)", "at least 2, for a band", seeds)
    if positive_int(f"{call}(points=...)", points) > steps:
        fail(f"{call}(points=...)", f"at most the {steps} steps", points)
    losses = curves(
        make_model, widths, x, y, lr=lr, loss=loss, optimizer=optimizer, base_width=base_width or widths[0],
        steps=steps, batch_size=batch_size, seeds=range(seeds), points=points, parametrized=parametrized,
        make_optimizer=make_optimizer, directory=directory, console=console, shared=shared, **options,
    )  # fmt: skip
    if not np.isfinite(losses).all():
        bad = next(n for n, at in zip(widths, losses, strict=True) if not np.isfinite(at).all())
        fail(f"{call}(lr=...)", "small enough for every run", f"{lr}, at which a run of width {bad} diverges")
    return WidthLaw(widths, losses, width, level)


@takes_numpy
def curves(
    make_model: Callable[[int], nn.Module],
    widths: Sequence[int],
    x: Shaped[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    lr: float,
    base_width: int,
    seeds: Sequence[int],
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    optimizer: type[Optimizer] = torch.optim.AdamW,
    steps: int = 200,
    batch_size: int = 64,
    points: int = 20,
    parametrized: bool = True,
    make_optimizer: Callable[[nn.Module, float], Optimizer] | None = None,
    directory: Path | str | None = None,
    console: Console | None = None,
    shared: bool | None = None,
    **options: Any,
) -> np.ndarray:
    """The curves that `forecast` measures, (widths, seeds, points): of wide runs too, to hold a forecast against.

    Args:
        make_model: As there.
        widths: As there, but any number.
        x: As there.
        y: As there.
        lr: As there.
        base_width: As there.
        seeds: Of the initial values.
        loss: As there.
        optimizer: As there.
        steps: As there.
        batch_size: As there.
        points: As there.
        parametrized: As there.
        make_optimizer: As there.
        directory: As there.
        console: As there.
        shared: As there.
        **options: As there.

    Raises:
        ValueError: As there, but for runs that diverge, whose losses are infinite from then on.
    """
    call = "forecast"
    widest, narrowest = max(widths), min(widths)
    builder, settings = builders(
        call, make_model, widest, base_width, x[:1], optimizer, make_optimizer, parametrized, options
    )
    procedure = Procedure(
        builder=builder, x=x, y=y, loss=loss, steps=steps, batch_size=batch_size,
        settings={**settings, "points": points},
    )  # fmt: skip

    def first_losses() -> list[float]:
        return procedure.run(min(base_width, narrowest), lr, seed=0, order=ORDER, steps=2)

    def curve(run: tuple[int, int]) -> list[float]:
        n, seed = run
        return runs.losses(n, lr, seed, lambda: stretches(procedure.run(n, lr, seed, ORDER), points))

    processes = sharing(f"{call}(shared=...)", shared)
    with kept_runs(directory, procedure.plain(), first_losses, call, processes) as runs:
        pieces = {(n, seed): f"width {n}, seed {seed}" for n in widths for seed in seeds}
        found = in_turn(processes, pieces, curve, console)
    return np.array([[found[n, seed] for seed in seeds] for n in widths])
