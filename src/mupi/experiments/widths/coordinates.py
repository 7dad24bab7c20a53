"""The coordinate check: how every layer's size, and its change in training, scale with width."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.parametrization import Scalings
from mupi.parametrization.power_law import PowerLaw, trend

OUTPUT = "f"


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
        """Whether every measured exponent agrees with the predicted one; without predictions, whether nothing grows."""
        return all(
            law.slope <= self.tolerance if law.predicted is None else law.agrees(self.tolerance) for law in self.laws
        )

    def table(self, title: str = "Coordinate check") -> Table:
        """One row a quantity: predicted and measured exponent of n, and whether they agree."""
        table = Table("layer", "quantity", "predicted", "measured", "", title=title)
        for law in self.laws:
            measured = f"{law.slope:+.2f} ± {law.half_width:.2f}"
            words = trend(law, self.tolerance)
            if law.predicted is None:
                table.add_row(law.part, law.quantity, "", measured, words)
                continue
            mark = "[green]✓[/]" if law.agrees(self.tolerance) else "[red]✗[/]"
            table.add_row(law.part, law.quantity, f"{law.predicted:+.2f}", measured, f"{mark} {words}")
        return table

    def to_json(self) -> dict:
        """Everything, as JSON has it."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "laws": [law.to_json() for law in self.laws],
        }


@takes_numpy
def coordinate_check(
    make_model: Callable[[int], nn.Module],
    widths: Sequence[int],
    x: Float[Tensor, "n ..."],
    y: Tensor,
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
    change after the last step. Layers are the modules with parameters of their own, in the order of their calls, and
    the model's output. In μP nothing grows, and no change vanishes; a change that grows makes training at large width
    blow up.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, 2))
    >>> make_optimizer = lambda net: torch.optim.SGD(net.parameters(), lr=0.1)
    >>> x, y = torch.ones(4, 8), torch.tensor([0, 1, 0, 1])
    >>> result = coordinate_check(make_model, [16, 32, 64], x, y, make_optimizer=make_optimizer)
    >>> [(law.quantity, law.part) for law in result.laws]
    [('|h|', '0'), ('|f|', 'f'), ('|Δh|', '0'), ('|Δf|', 'f')]

    Args:
        make_model: Makes a model of a width, with torch's global generator (seeded here; its state is restored). With
            dropout the changes would be those of the mask: leave it out.
        widths: At least two.
        x: Inputs; every step takes all of them.
        y: Targets.
        make_optimizer: Makes the optimiser of a model.
        loss: Of the model's output and ``y``.
        steps: Optimiser steps.
        seeds: How many models at each width.
        predicted: The exponents to compare with, from `Parametrization.scalings`, for a model of as many layers.
        tolerance: How far a measured exponent may be from the predicted one.
        console: Where to show progress; None for nowhere.

    Raises:
        ValueError: If there are fewer than two widths, or layers that ``predicted`` does not have.
    """
    if len(set(widths)) < 2:
        fail("coordinate_check(widths=...)", "at least two different widths", list(widths))
    for name, value in dict(steps=steps, seeds=seeds).items():
        positive_int(f"coordinate_check({name}=...)", value)
    runs = []
    with torch.random.fork_rng(), _progress(console, len(widths) * seeds) as advance:
        for width in widths:
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = make_model(width)
                runs.append(_sizes(model, make_optimizer(model), x, y, loss, steps))
                advance(f"width {width}")
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
    before = _coordinates(model, x)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    after = _coordinates(model, x)
    sizes: Sizes = {}
    for quantity, parts in (("|h|", before), ("|Δh|", {part: after[part] - before[part] for part in before})):
        for part, value in parts.items():
            name = quantity.replace("h", "f") if part == OUTPUT else quantity
            sizes[name, part] = float(value.double().square().mean().sqrt())
    return sizes


@torch.no_grad()
def _coordinates(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each layer with parameters puts out, in the order of the calls, and the model's output last."""
    # Clones, since a module may work in place on what an earlier one put out; the original tells the model's output.
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor):
                calls = sum(key.partition(" call ")[0] == name for key in seen)
                seen[f"{name} call {calls + 1}" if calls else name] = output, output.clone()

        return hook

    layers = [
        (name, m) for name, m in model.named_modules() if name and next(m.parameters(recurse=False), None) is not None
    ]
    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    try:
        output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    parts = {name: clone for name, (value, clone) in seen.items() if value is not output}
    return {**parts, OUTPUT: output}


def _exponents(predicted: Scalings | None, sizes: Sizes) -> dict[tuple[str, str], float | None]:
    """The predicted exponent of each measured quantity."""
    if predicted is None:
        return dict.fromkeys(sizes)
    values = (*predicted.hidden_init, predicted.output_init, *predicted.hidden_change, predicted.output_change)
    if len(values) != len(sizes):
        layers = ", ".join(dict.fromkeys(part for _, part in sizes))
        fail("coordinate_check(predicted=...)", f"for a model of the layers {layers}", f"{len(values) // 2} layers")
    return {key: float(e) for key, e in zip(sizes, values, strict=True)}


@contextmanager
def _progress(console: Console | None, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of the trained models; calling what it yields moves it on."""
    if console is None:
        yield lambda status: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training", total=total)
        yield lambda status: progress.update(task, advance=1, description=status)
