"""`check`: a coordinate check against the exponents that the graph predicts, and what is wrong in words."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from mupi.architecture import Architecture
from mupi.architecture.trace import trace
from mupi.arrays import as_tensor
from mupi.checks import fail, positive_int
from mupi.mup.causes import Cause, causes
from mupi.mup.measured import Run, by_graph, by_modules, check_graph, trained
from mupi.mup.prediction import Prediction, predict
from mupi.mup.sizes import HALF, NONE, ZERO, Exponent
from mupi.optim.families import AdamLike, Family
from mupi.progress import counted
from mupi.statistics import PowerLaw, number, trend


class CheckVerdict(StrEnum):
    """What a network does as its width grows."""

    LEARNS = "learns features at every layer"
    """Nothing grows, and every layer moves."""
    LAZY = "lazy layers"
    """Nothing grows, but some layer moves less and less, or the output does."""
    UNSTABLE = "unstable"
    """Something grows with width."""


@dataclass(frozen=True)
class Compared:
    """A measured exponent beside the predicted one.

    Attributes:
        law: What was measured.
        low: The least that is predicted over the steps: what moves from the second step on only has at finite width the
            exponent of its first step, that of later ones, or one between.
        high: The largest; both None where nothing is predicted.
    """

    law: PowerLaw
    low: Exponent | None
    high: Exponent | None

    def agrees(self, tolerance: float) -> bool:
        """Whether the measured exponent, with its interval, may be the predicted one; yes where nothing is predicted.

        What starts at zero, by chance of its initial values, agrees with every prediction of its start.
        """
        if self.low is None or self.high is None:
            return True
        if self.high == ZERO or self.law.zero:
            return self.law.zero and (self.low == ZERO or not self.law.quantity.startswith("|Δ"))
        if math.isnan(self.law.slope):
            return False
        return bool(self.least <= self.high + tolerance and self.most >= self.low - tolerance)

    @property
    def least(self) -> float:
        """The lower end of the measured exponent's interval."""
        return self.law.slope - self._margin

    @property
    def most(self) -> float:
        """The upper end."""
        return self.law.slope + self._margin

    @property
    def _margin(self) -> float:
        """Of two networks nothing is known."""
        return math.inf if math.isnan(self.law.half_width) else self.law.half_width

    @property
    def predicted(self) -> str:
        """In print."""
        if self.low is None or self.high is None:
            return ""
        return shown(self.high) if self.low == self.high else f"{shown(self.low)} … {shown(self.high)}"


def shown(exponent: Exponent) -> str:
    """In print."""
    return "zero" if exponent == ZERO else f"{float(exponent):+.2f}"


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        compared: Each quantity: of layers |h| and |Δh|, of attention's logits |q·k| and |Δq·k|, of the output |f| and
            |Δf|, and |Δw| of parameters whose steps do not know the gradient's size.
        prediction: The predicted exponents; None where there is no graph.
        reason: Why there is none.
        causes: What is wrong, in words.
        notes: What is worth knowing, and no fault.
        tolerance: How far a measured exponent may be from the predicted one.
    """

    compared: tuple[Compared, ...]
    prediction: Prediction | None
    reason: str
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every layer learns, and every measured exponent is the predicted one.

        Without a prediction it does not pass, whatever the verdict: what grows as n^½ with a small constant is not seen
        at the widths of a check.
        """
        known = self.prediction is not None and self.verdict is CheckVerdict.LEARNS
        return known and not self.differing and not self.causes

    @property
    def differing(self) -> tuple[Compared, ...]:
        """What is measured otherwise than predicted."""
        return tuple(c for c in self.compared if not c.agrees(self.tolerance))

    @property
    def growing(self) -> tuple[Compared, ...]:
        """Values and changes that are measured to grow, or are no longer finite, though nothing predicts that."""
        found = []
        for c in self._values:
            most = self.tolerance + (max(float(c.high), 0.0) if c.high is not None and c.high != ZERO else 0.0)
            if not np.isfinite(c.law.sizes).all() or c.least > most:
                found.append(c)
        return tuple(found)

    @property
    def vanishing(self) -> tuple[Compared, ...]:
        """Changes that are measured to vanish, though nothing predicts that."""
        found = []
        for c in self._values:
            if not c.law.quantity.startswith("|Δ"):
                continue
            least = min(float(c.low), 0.0) if c.low is not None else 0.0
            if (c.law.zero and least > -math.inf) or c.most < least - self.tolerance:
                found.append(c)
        return tuple(found)

    @property
    def _values(self) -> tuple[Compared, ...]:
        return tuple(c for c in self.compared if "w" not in c.law.quantity)

    @property
    def verdict(self) -> CheckVerdict:
        """Of three, by the prediction and by what is measured: "nothing grows" is none."""
        p = self.prediction
        if self.growing or (p is not None and p.growing):
            return CheckVerdict.UNSTABLE
        if self.vanishing or (p is not None and p.lazy):
            return CheckVerdict.LAZY
        return CheckVerdict.LEARNS

    def explain(self) -> str:
        """The verdict, then what is wrong, a line each."""
        p, verdict = self.prediction, self.verdict
        named: list[str] = []
        if verdict is CheckVerdict.UNSTABLE:
            named = [f"{law.quantity} of {law.part} (predicted n^{float(max(law.exponents)):+.2g})"
                     for law in (p.growing if p is not None else ())][:4]  # fmt: skip
            named += [f"{c.law.quantity} of {c.law.part} ({_measured(c, self.tolerance)})" for c in self.growing]
        elif verdict is CheckVerdict.LAZY:
            named = [
                f"{e.node} (its own update moves it by n^{float(e.own):+.2g})"
                for e in (p.lazy if p is not None else ())
            ]
            named += [f"{c.law.quantity} of {c.law.part} ({_measured(c, self.tolerance)})" for c in self.vanishing]
        lines = [f"{verdict}{': ' if named else ''}{', '.join(named)}"]
        lines += [f"✗ {cause}" for cause in self.causes]
        if p is None:
            lines.append(
                f"no prediction: {self.reason}; the verdict is by measured exponents of modules' outputs alone"
            )
        elif self.differing:
            lines += [f"✗ {c.law.quantity} of {c.law.part}: predicted {c.predicted}, {_measured(c, self.tolerance)}"
                      for c in self.differing]  # fmt: skip
        return "\n".join([*lines, *(f"· {note}" for note in self.notes)])

    def table(self, title: str = "Check of μP") -> Table:
        """One row a quantity: predicted and measured exponent of n, and whether they agree; below, `explain`."""
        table = Table(
            "part", "quantity", "predicted", "measured", "", title=title, caption=self.explain(), caption_justify="left"
        )
        for c in self.compared:
            law, words = c.law, trend(c.law, self.tolerance)
            mark = "" if c.low is None else "[green]✓[/] " if c.agrees(self.tolerance) else "[red]✗[/] "
            table.add_row(
                law.part, law.quantity, c.predicted, f"{law.slope:+.2f} ± {law.half_width:.2f}", f"{mark}{words}"
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "passed": self.passed,
            "verdict": self.verdict.value,
            "causes": [{"kind": cause.kind, "part": cause.part, "text": str(cause)} for cause in self.causes],
            "notes": list(self.notes),
            "no_prediction": self.reason,
            "tolerance": self.tolerance,
            "laws": [
                {
                    **c.law.to_json(),
                    "low": None if c.low is None else number(float(c.low)),
                    "high": None if c.high is None else number(float(c.high)),
                }
                for c in self.compared
            ],  # fmt: skip
        }

    def figure(self) -> Any:
        """Sizes at the start above, changes below, over width, with predicted slopes."""
        from mupi.figures.coordinate_checks import plot_coordinate_checks  # here, as matplotlib takes long

        return plot_coordinate_checks({self.verdict.value: [c.law for c in self._values]})


def _measured(c: Compared, tolerance: float) -> str:
    return f"measured n^{c.law.slope:+.2f}" if math.isfinite(c.law.slope) else trend(c.law, tolerance)


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


def initial_exponents(
    widths: Sequence[int], runs: Sequence[Sequence[Run]], vectors: Collection[str] = ()
) -> dict[str, Exponent]:
    """For each parameter the exponent of its initial entries, a multiple of ½ where that is near enough.

    Of vectors, which have few entries, it is 0 where that is near enough.
    """
    found: dict[str, Exponent] = {}
    for name, count in runs[0][0].counts.items():
        sizes = np.sqrt([np.mean([run.entries[name] ** 2 for run in at]) for at in runs])
        if not sizes.all():
            found[name] = ZERO
            continue
        slope = float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])
        # Root mean squares of few entries vary.
        noise = (2 * count * len(runs[0])) ** -0.5 / float(np.std(np.log(widths)) * len(widths) ** 0.5)
        half = Fraction(round(2 * slope), 2)
        if name in vectors and abs(slope) < 2 * noise:
            half = NONE
        near = abs(slope - float(half)) < max(0.12, 3 * noise)
        found[name] = half if near else Fraction(round(12 * slope), 12)
    return found


def rate_exponents(widths: Sequence[int], runs: Sequence[Sequence[Run]]) -> Mapping[str, Exponent]:
    """For each parameter the exponent of its rate."""
    found: dict[str, Exponent] = {}
    for name in runs[0][0].counts:
        rates = [at[0].rates[name] for at in runs]
        if not all(rates):
            found[name] = ZERO
            continue
        slope = float(np.polyfit(np.log(widths), np.log(rates), 1)[0])
        found[name] = Fraction(round(24 * slope), 24)
    return found
