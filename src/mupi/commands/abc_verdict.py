"""`mupi abc`: what theory says of a parametrization, and the map of all."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table

from mupi.commands.chosen import Chosen, named
from mupi.commands.options import File
from mupi.figures.abc_map import plot_abc_map
from mupi.parametrization import Parametrization, power
from mupi.training.atomic import write_figure


@dataclass(frozen=True, kw_only=True)
class AbcConfig(Chosen):
    """Say what a parametrization does at large width: stable? features? what to change? how does everything scale?

    Give one by name or by its exponents, for example `standard --depth 3`, or `by-hand --a 0 1/2 --b 0 0 --c 0`, or
    several, which are compared.
    """

    map: Annotated[Path | None, File(figure=True)] = None
    """Write the map of parametrizations, with those chosen marked, to this file."""


def abc(config: AbcConfig) -> None:
    """Print verdict, conditions, advice and tables of those chosen."""
    console = Console(highlight=False)
    chosen = config.by_name()
    if len(chosen) == 1:
        ((name, p),) = chosen.items()
        console.print(f"[bold]{name}[/], L = {p.depth}: {p.explain()}", "")
        console.print(exponents(p), "")
    else:
        for name, p in chosen.items():
            console.print(f"[bold]{name}[/]: {p.verdict}")
        console.print()
    console.print(predictions(chosen))
    if config.map is not None:
        config.map.parent.mkdir(parents=True, exist_ok=True)
        write_figure(config.map, plot_abc_map(named(config.depth) | chosen, depth=config.depth))
        console.print(f"wrote {config.map}")


def exponents(p: Parametrization) -> Table:
    """a, b, and the learning rates of SGD and Adam, one column a weight."""
    table = Table(
        "", *(f"W^{layer}" for layer in range(1, p.depth + 2)), "hidden bias", "readout bias", title="Exponents"
    )
    (bias_a, bias_b), (last_a, last_b) = p.hidden_bias, p.readout_bias
    table.add_row("multiplier n^(-a): a", *map(str, (*p.a, bias_a, last_a)))
    table.add_row("start N(0, n^(-2b)): b", *map(str, (*p.b, bias_b, last_b)))
    for label, rates in (("SGD, η n^(-c): c", p.sgd_rates), ("Adam, η n^(-c): c", p.adam_rates)):
        table.add_row(label, *map(str, (*rates.weights, rates.hidden_bias, rates.readout_bias)))
    return table


def predictions(chosen: dict[str, Parametrization]) -> Table:
    """The predicted size of every quantity as a power of n, one column a parametrization."""
    table = Table("size at large width n", *chosen, title="Predictions")
    depth = max(p.depth for p in chosen.values())
    scalings = [p.scalings() for p in chosen.values()]

    def row(label: str, sizes: list[Fraction | None]) -> None:
        table.add_row(label, *("" if size is None else power(size) for size in sizes))

    for layer in range(depth):
        sizes = [s.hidden_init for s in scalings]
        row(f"h^{layer + 1} at the start", [at[layer] if layer < len(at) else None for at in sizes])
    row("f at the start", [s.output_init for s in scalings])
    for layer in range(depth):
        sizes = [s.hidden_change for s in scalings]
        row(f"Δh^{layer + 1}", [at[layer] if layer < len(at) else None for at in sizes])
    row("Δf", [s.output_change for s in scalings])
    row("Δ feature kernel", [s.feature_kernel_change for s in scalings])
    if not all(p.stable for p in chosen.values()):
        table.caption = "Unstable: changes in the first step, to first order in the learning rate."
    return table
