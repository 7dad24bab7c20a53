"""The coordinate check: how every layer's size, and its change in training, scale with width."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

from mupi.arrays import as_tensor
from mupi.checks import fail, positive_int
from mupi.losses import check_broadcast
from mupi.parametrization import Scalings
from mupi.progress import counted
from mupi.statistics import PowerLaw, trend

OUTPUT = "f"


class WidthVerdict(StrEnum):
    """What a model does as its width grows, by the measured exponents alone."""

    LEARNS = "learns features"
    """Nothing grows, and the change of every layer and of the output keeps its size."""
    VANISHES = "changes vanish"
    """Nothing grows, but some layer's features, or the output, stop moving: a lazy or a trivial limit."""
    GROWS = "grows"
    """Something grows: training at large width blows up, or needs other rates."""


@dataclass(frozen=True)
class CoordinateCheck:
    """What a coordinate check measured.

    Attributes:
        laws: For each layer, |h| at the start and |Δh|; for the output, |f| and |Δf|.
        tolerance: How far a measured exponent may be from the predicted one.
    """

    laws: tuple[PowerLaw, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every measured exponent is the predicted one; without predictions, whether the verdict is LEARNS.

        What is exactly zero at the start (a readout that starts at zero, say) agrees with every prediction.
        """
        if any(law.predicted is None for law in self.laws):
            return self.verdict is WidthVerdict.LEARNS
        return all(self._agrees(law) for law in self.laws)

    @property
    def verdict(self) -> WidthVerdict:
        """One of three: learns, vanishes, grows."""
        if self.growing:
            return WidthVerdict.GROWS
        return WidthVerdict.VANISHES if self.vanishing else WidthVerdict.LEARNS

    @property
    def growing(self) -> list[PowerLaw]:
        """The quantities that grow with width, or are no longer finite."""
        return [law for law in self.laws if not np.isfinite(law.sizes).all() or law.slope > self.tolerance]

    @property
    def vanishing(self) -> list[PowerLaw]:
        """The changes that vanish with width, or are exactly zero in some network; sizes at the start may vanish."""
        changes = (law for law in self.laws if law.quantity.startswith("|Δ"))
        return [law for law in changes if not np.all(law.sizes) or law.slope < -self.tolerance]

    def explain(self) -> str:
        """The verdict in a line, with the quantities that it is about."""
        named = {WidthVerdict.LEARNS: [], WidthVerdict.VANISHES: self.vanishing, WidthVerdict.GROWS: self.growing}[
            self.verdict
        ]
        if not named:
            return "learns features: nothing grows with width, and every change keeps its size"
        words = {law: trend(law, self.tolerance) if isnan(law.slope) else f"n^{law.slope:+.2f}" for law in named}
        laws = (f"{law.quantity} of {law.part} ({words[law]})" for law in named)
        return f"{self.verdict} with width: {', '.join(laws)}"

    def table(self, title: str = "Coordinate check") -> Table:
        """One row a quantity: predicted and measured exponent of n, and whether they agree; below, the verdict."""
        table = Table("layer", "quantity", "predicted", "measured", "", title=title, caption=self.explain())
        for law in self.laws:
            measured = f"{law.slope:+.2f} ± {law.half_width:.2f}"
            words = trend(law, self.tolerance)
            if law.predicted is None:
                table.add_row(law.part, law.quantity, "", measured, words)
                continue
            mark = "[green]✓[/]" if self._agrees(law) else "[red]✗[/]"
            table.add_row(law.part, law.quantity, f"{law.predicted:+.2f}", measured, f"{mark} {words}")
        return table

    def _agrees(self, law: PowerLaw) -> bool:
        return law.agrees(self.tolerance) or (law.zero and not law.quantity.startswith("|Δ"))

    def to_json(self) -> dict:
        """Everything, as JSON has it."""
        return {
            "passed": self.passed,
            "verdict": self.verdict.value,
            "tolerance": self.tolerance,
            "laws": [law.to_json() for law in self.laws],
        }


def coordinate_check(
    make_model: Callable[[int], nn.Module],
    widths: Sequence[int],
    x: Shaped[Tensor, "n ..."] | Shaped[np.ndarray, "n ..."],
    y: Tensor | np.ndarray,
    *,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    steps: int = 3,
    seeds: int = 4,
    predicted: Scalings | None = None,
    tolerance: float = 0.1,
    console: Console | None = None,
) -> CoordinateCheck:
    """Train a few steps at several widths, and fit how the size of each layer scales with width.

    Sizes are root mean squares over the batch and the coordinates of what a layer puts out, at the start, and of its
    change after the last step. Layers are the modules with trainable parameters of their own, in the order of their
    calls, and the model's output; where one puts out a tuple or a dict, each tensor in it counts by itself. In μP
    nothing grows, and no change vanishes; a change that grows makes training at large width blow up, and where one
    vanishes that layer learns no features: the verdict is one of these three.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, 2))
    >>> make_optimizer = lambda net: torch.optim.SGD(net.parameters(), lr=0.1)
    >>> x, y = torch.ones(4, 8), torch.tensor([0, 1, 0, 1])
    >>> result = coordinate_check(make_model, [16, 32, 64], x, y, make_optimizer=make_optimizer)
    >>> [(law.quantity, law.part) for law in result.laws]
    [('|h|', '0'), ('|f|', 'f'), ('|Δh|', '0'), ('|Δf|', 'f')]

    Args:
        make_model: Makes a model of a width, with torch's global generator (seeded here; its state is restored).
        widths: At least two widths to train at.
        x: Inputs; every step takes all of them. A floating NumPy array gets the dtype of the model.
        y: Targets of the inputs, one row each.
        make_optimizer: Makes the optimiser of a model.
        loss: Of the model's output and ``y``.
        steps: Optimiser steps.
        seeds: How many models at each width.
        predicted: The exponents to compare with, from `Parametrization.scalings`, for a model of as many layers.
        tolerance: How far a measured exponent may be from the predicted one.
        console: Where to show progress; None for nowhere.

    Raises:
        ValueError: If there are fewer than two widths, or layers that ``predicted`` does not have; if no layer's output
            can be seen, or two passes of a model differ (with dropout, changes would be those of the mask).
    """
    for width in widths:
        positive_int("coordinate_check(widths=...)", width)
    if len(set(widths)) < 2:
        fail("coordinate_check(widths=...)", "at least two different widths", list(widths))
    for name, value in dict(steps=steps, seeds=seeds).items():
        positive_int(f"coordinate_check({name}=...)", value)
    runs = []
    with torch.random.fork_rng(), counted(len(widths) * seeds, console) as begin:
        for width in widths:
            for seed in range(seeds):
                begin(f"width {width}")
                torch.manual_seed(seed)
                model = make_model(width)
                like = next(model.parameters(), None)
                x, y = as_tensor("coordinate_check(x=...)", x, like), as_tensor("coordinate_check(y=...)", y, like)
                if not runs:
                    _check_model(model, x)
                runs.append(_sizes(model, make_optimizer(model), x, y, loss, steps))
    by_width = [runs[i : i + seeds] for i in range(0, len(runs), seeds)]
    exponents = _exponents(predicted, runs[0])
    laws = (
        PowerLaw(quantity, part, tuple(widths), tuple(tuple(run[quantity, part] for run in at) for at in by_width), e)
        for (quantity, part), e in exponents.items()
    )
    return CoordinateCheck(tuple(laws), tolerance)


Sizes = dict[tuple[str, str], float]
"""By quantity and part."""


def _sizes(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
) -> Sizes:
    """Train, and measure before and after."""
    before = module_outputs(model, x)
    for step in range(steps):
        optimizer.zero_grad()
        outputs = model(x)
        if step == 0:
            check_broadcast("coordinate_check(loss=...)", loss, outputs, y)
        loss(outputs, y).backward()
        optimizer.step()
    after = module_outputs(model, x)
    sizes: Sizes = {}
    for quantity, parts in (("|h|", before), ("|Δh|", {part: after[part] - before[part] for part in before})):
        for part, value in parts.items():
            name = quantity.replace("h", "f") if _is_output(part) else quantity
            sizes[name, part] = float(value.double().square().mean().sqrt())
    return sizes


def _check_model(model: nn.Module, x: Tensor) -> None:
    """Raise ``ValueError`` if a check of this model would say nothing."""
    first, second = module_outputs(model, x), module_outputs(model, x)
    for part, value in first.items():
        if not torch.equal(value, second[part]) and not value.isnan().any():
            fail(
                "coordinate_check(make_model=...)",
                "of models whose passes are equal",
                f"two different outputs of {part}",
                "leave out dropout and other noise",
            )
    if all(map(_is_output, first)):
        fail(
            "coordinate_check(make_model=...)",
            "of models made of modules with trainable parameters",
            f"{type(model).__name__}, of which only the output can be seen",
            "put hidden weights into modules, such as nn.Linear, or make them parameters of the model itself",
        )


@torch.no_grad()
def module_outputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each layer with trainable parameters puts out, in the order of the calls, and the model's output last.

    A parameter of the model itself, which no module of it has, is a layer too: what the first operation makes of it
    and of a value, such as x @ W or x + positions.

    Args:
        model: The model.
        x: A batch of inputs.
    """
    # Clones, since a module may work in place on what an earlier one put out; the original tells the model's output.
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    calls: Counter[str] = Counter()

    def found(name: str, output: object) -> None:
        calls[name] += 1
        call = f"{name} call {calls[name]}" if calls[name] > 1 else name
        seen.update({part: (value, value.clone()) for part, value in _tensors(call, output)})

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, args, output: found(name, output)

    layers = [
        (name, module)
        for name, module in model.named_modules()
        if name and any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    own = {name: p for name, p in model.named_parameters(recurse=False) if p.requires_grad}
    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    try:
        with ReadersOf(own, found) if own else nullcontext():
            outputs = dict(_tensors(OUTPUT, model(x)))
    finally:
        for handle in handles:
            handle.remove()
    inner = (name for name, (value, _) in seen.items() if not any(_same(value, f) for f in outputs.values()))
    return {**{name: seen[name][1] for name in inner}, **outputs}


class ReadersOf(TorchFunctionMode):
    """Sees what operations make of parameters and other values; what they make of parameters alone stands for these.

    Args:
        parameters: By name.
        found: Is called with a name and what an operation made of it and of a value.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], found: Callable[[str, object], None]):
        super().__init__()
        self.found = found
        self.names = {id(p): name for name, p in parameters.items()}
        self.alive: list[Tensor] = list(parameters.values())  # whose ids must not be given to others

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and look at what it was given."""
        out = func(*args, **(kwargs or {}))
        given = [value for _, value in _tensors("", [*args, *(kwargs or {}).values()])]
        names = [self.names[id(value)] for value in given if id(value) in self.names]
        if not names:
            return out
        if len(names) < len(given):
            for name in dict.fromkeys(names):
                self.found(name, out)
        else:
            for _, value in _tensors("", out):
                self.names[id(value)] = names[0]
                self.alive.append(value)
        return out


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same entries in memory, of whatever shapes."""
    return a is b or (a.numel() == b.numel() > 0 and a.data_ptr() == b.data_ptr() and a.dtype == b.dtype)


def _tensors(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    """The floating tensors in what a module puts out, which may be a tuple (a GRU's) or a dict, and their names."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            yield from _tensors(f"{name}[{i}]", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _tensors(f"{name}[{key!r}]", part)


def _is_output(part: str) -> bool:
    return part == OUTPUT or part.startswith(f"{OUTPUT}[")


def _exponents(predicted: Scalings | None, sizes: Sizes) -> dict[tuple[str, str], float | None]:
    """The predicted exponent of each measured quantity."""
    if predicted is None:
        return dict.fromkeys(sizes)
    values = (*predicted.hidden_init, predicted.output_init, *predicted.hidden_change, predicted.output_change)
    if len(values) != len(sizes):
        layers = ", ".join(dict.fromkeys(part for _, part in sizes))
        fail("coordinate_check(predicted=...)", f"for a model of the layers {layers}", f"{len(values) // 2} layers")
    return {key: float(e) for key, e in zip(sizes, values, strict=True)}
