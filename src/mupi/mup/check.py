"""`check`: a coordinate check against the exponents that the graph predicts, and what is wrong in words."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from mupi.architecture import Architecture
from mupi.architecture.trace import trace
from mupi.arrays import as_tensor
from mupi.checks import fail, positive_int
from mupi.mup.causes import causes
from mupi.mup.check_result import Check, Compared
from mupi.mup.fitted_exponents import initial_exponents, rate_exponents
from mupi.mup.measured import Run, by_graph, by_modules, check_graph, trained
from mupi.mup.predict import predict
from mupi.mup.prediction import Prediction
from mupi.mup.sizes import HALF, ZERO
from mupi.optim.families import AdamLike, Family
from mupi.progress import counted
from mupi.statistics import PowerLaw


@runtime_checkable
class InMup(Protocol):
    """What is asked of a parametrized module: see `mupi.mup.Parametrized`."""

    @property
    def base_width(self) -> int:
        """The width n0."""
        ...

    @property
    def architecture(self) -> Architecture | None:
        """What `mupi.trace` read."""
        ...

    @property
    def make_model(self) -> Callable[[int], nn.Module]:
        """The user's factory."""
        ...

    @property
    def at(self) -> Callable[[int], Any]:
        """The same for another width."""
        ...


def check(
    parametrized: InMup,
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    *,
    optimizer: type[Optimizer] = torch.optim.AdamW,
    lr: float,
    widths: Sequence[int] | None = None,
    seeds: int = 3,
    steps: int = 3,
    tolerance: float = 0.15,
    console: Console | None = None,
    **options: Any,
) -> Check:
    """Train a parametrized module at several widths, compare with what its graph predicts, and say what is wrong.

    Args:
        parametrized: What `mupi.parametrize` made.
        x: Inputs; every step takes all of them.
        y: Targets of the inputs, one row each.
        loss: Of the model's output and ``y``.
        optimizer: The optimizer's class.
        lr: The rate at the base width.
        widths: None for 1, 2, 4 and 8 times the base width.
        seeds: Networks at each width.
        steps: Steps of the optimizer.
        tolerance: How far a measured exponent may be from the predicted one.
        console: Where to show progress; None for nowhere.
        **options: Of `Parametrized.optimizer`: ``weight_decay``, ``rest``, …

    Raises:
        ValueError: As `check_scaling`.
    """
    p = parametrized
    made: dict[int, Any] = {}

    def make_model(width: int) -> nn.Module:
        q = p.at(width)
        made[id(q.model)] = q
        return q.model

    def make_optimizer(model: nn.Module, width: int) -> Optimizer:
        return made.pop(id(model)).optimizer(optimizer, lr=lr, **options)

    arch = p.architecture or graph(p.make_model, torch.as_tensor(x))
    return check_scaling(
        make_model, x, y, loss, make_optimizer=make_optimizer, arch=arch,
        widths=widths or [k * p.base_width for k in (1, 2, 4, 8)], seeds=seeds, steps=steps, tolerance=tolerance,
        family=options.get("family"), console=console,
    )  # fmt: skip


def check_scaling(
    make_model: Callable[[int], nn.Module],
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    *,
    make_optimizer: Callable[[nn.Module, int], Optimizer],
    widths: Sequence[int],
    arch: Architecture | str | None = None,
    family: Family | None = None,
    seeds: int = 3,
    steps: int = 3,
    tolerance: float = 0.15,
    console: Console | None = None,
) -> Check:
    """The same of any function that makes a module of a width, and any that makes its optimizer.

    The exponents of initial values are fitted to those of the modules, those of rates are read from the optimizers;
    from these `mupi.mup.predict` says how everything scales. Values are those of the traced graph, computed with the
    module's own parameters, so that all of it is seen whatever modules return. What cannot be traced has no prediction:
    then modules' outputs are measured as `mupi.coordinate_check` does, and the result says so.

    Args:
        make_model: Makes a module of a width, with torch's global generator (seeded here; its state is restored).
        x: Inputs; every step takes all of them.
        y: Targets of the inputs, one row each.
        loss: Of the model's output and ``y``.
        make_optimizer: Makes the optimizer of a module and its width.
        widths: At least two widths to train at.
        arch: What `mupi.trace` made of it; None to trace it here, or the reason why it cannot be.
        family: Of the optimizer, if mupi does not know it.
        seeds: Networks at each width.
        steps: Steps of the optimizer.
        tolerance: How far a measured exponent may be from the predicted one.
        console: Where to show progress; None for nowhere.

    Raises:
        ValueError: If there are fewer than two widths, the optimizer's family is not known, or modules do not compute
            what was traced.
    """
    for width in widths:
        positive_int("check(widths=...)", width)
    if len(set(widths)) < 2:
        fail("check(widths=...)", "at least two different widths", list(widths))
    for name, value in dict(steps=steps, seeds=seeds).items():
        positive_int(f"check({name}=...)", value)
    like = next(make_model(min(widths)).parameters(), None)
    x, y = as_tensor("check(x=...)", x, like), as_tensor("check(y=...)", y, like)
    arch = graph(make_model, x) if arch is None else arch
    runs: list[list[Run]] = []
    with torch.random.fork_rng(), counted(len(widths) * seeds, console) as begin:
        for width in sorted(widths):
            runs.append([])
            for seed in range(seeds):
                begin(f"width {width}")
                torch.manual_seed(seed)
                model = make_model(width)
                if isinstance(arch, Architecture) and not seed:
                    check_graph(arch, model, x, width)
                see = by_graph(arch) if isinstance(arch, Architecture) else by_modules
                runs[-1].append(trained(model, make_optimizer(model, width), x, y, loss, steps, width, see, family))
    return judged(sorted(widths), runs, arch, steps, tolerance)


def graph(make_model: Callable[[int], nn.Module], x: Tensor) -> Architecture | str:
    """What `mupi.trace` makes of a module, or why it makes nothing; frozen parameters are parameters here."""
    try:
        return trace(lambda width: make_model(width).requires_grad_(True), x)
    except ValueError as error:
        return str(error)


def judged(
    widths: Sequence[int], runs: Sequence[Sequence[Run]], arch: Architecture | str, steps: int, tolerance: float
) -> Check:
    """What runs at several widths say."""
    few = {p.name for p in arch.parameters if p.role == "vector"} if isinstance(arch, Architecture) else set()
    stds, rates = initial_exponents(widths, runs, few), rate_exponents(widths, runs)
    prediction = None
    if isinstance(arch, Architecture):
        try:
            prediction = predict(arch, stds, rates, runs[0][0].families or {}, steps)
        except ValueError as error:
            arch = str(error)
    compared = []
    for quantity, part in runs[0][0].sizes:
        sizes = tuple(tuple(run.sizes[quantity, part] for run in at) for at in runs)
        low = high = None
        if prediction is not None:
            exponents = prediction.by_name[quantity, part].exponents
            low, high = min(exponents), max(exponents)
            # Beside the part of n aligned terms, or a bias, there is one of as many that are independent.
            low = low - HALF if quantity in ("|Δq·k|", "|f|") else low
        predicted = float(high) if high is not None and high != ZERO else None
        compared.append(Compared(PowerLaw(quantity, part, tuple(widths), sizes, predicted), low, high))
    adam = {name for name, known in runs[0][0].families.items() if isinstance(known, AdamLike)}
    told = tuple(c for c in compared if _tells(c, prediction, adam))
    found, notes = causes(prediction, told, stds, rates, widths, runs, tolerance)
    if len(widths) * len(runs[0]) < 3:
        notes = (*notes, "two networks give an exponent no interval: what is measured decides nothing; take more seeds")
    return Check(told, prediction, arch if isinstance(arch, str) else "", found, notes, tolerance)


def _tells(c: Compared, prediction: Prediction | None, adam: Collection[str]) -> bool:
    """Whether a measure says something: gradients do in what they move; steps of Adam if ε hides the gradient."""
    if "w" not in c.law.quantity:
        return True
    if prediction is None or c.law.quantity == "|∇w|":
        return False
    return c.law.part in adam and c.law.part not in prediction.idle and c.law.part not in prediction.frozen
