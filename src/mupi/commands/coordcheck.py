"""`mupi coordcheck`: real networks of many widths against the predicted exponents."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from mupi.activations import Activation, Tanh
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.chosen import Chosen
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import DataFolder, WrittenFolder
from mupi.commands.train.activation_names import activation_name, tell_of_kernel
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.size import perceptron_bytes
from mupi.commands.widths import doublings
from mupi.data import DatasetName, load
from mupi.figures.coordinate_checks import plot_coordinate_checks
from mupi.nets import MLP, parameter_groups
from mupi.optim import SGD
from mupi.parametrization import Parametrization, Scalings
from mupi.parametrization.coordinate_check import CoordinateCheck, coordinate_check
from mupi.reports import Report
from mupi.training.lock import held


@dataclass(frozen=True, kw_only=True)
class CoordCheckConfig(Chosen):
    """Train networks of many widths for a few steps, and compare how sizes scale with the predicted exponents.

    All named parametrizations side by side, unless some are chosen, or one by its exponents.
    """

    dataset: DatasetName = "digits"
    """The images."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    activation: Activation = Tanh()
    """φ. The theorems are for smooth ones; relu scales alike."""
    min_width: int = 64
    """The smallest width; each further one is twice as wide."""
    max_width: int = 8192
    """The largest width."""
    seeds: int = 3
    """Networks at each width."""
    batch_size: int = 32
    """Images; every step takes all of them."""
    steps: int = 3
    """Steps of SGD; an unstable parametrization is given one."""
    lr: float = 4.0
    """η, on images of norm 1. An unstable parametrization gets one so much smaller that its first step is linear."""
    tolerance: float = 0.1
    """How far a measured exponent may be from the predicted one."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/coordcheck")
    """Where `coordcheck.json` and `coordcheck.png` are written."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("min_width", "max_width", "seeds", "batch_size", "steps"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("lr", "tolerance"):
            non_negative(f"--{name}", getattr(self, name))
        if self.max_width < 2 * self.min_width:
            fail("--max-width", f"at least twice --min-width, {2 * self.min_width}", self.max_width)

    @property
    def widths(self) -> list[int]:
        """min_width, twice that, and so on."""
        return doublings(self.min_width, self.max_width)


def coordcheck(config: CoordCheckConfig) -> dict[str, CoordinateCheck]:
    """Check every chosen parametrization; print its table, and write figure and JSON.

    Returns:
        The check of each, by its name.

    Raises:
        ValueError: If the data set has fewer images than a batch, or another process writes into the folder.
    """
    with held(config.out, "choose another --out"):
        return _coordcheck(config, Console())


def _coordcheck(config: CoordCheckConfig, console: Console) -> dict[str, CoordinateCheck]:
    """`coordcheck` into a folder that is held."""
    set_threads(config.threads)
    data = load(config.dataset, config.data_dir).take(config.batch_size, torch.Generator().manual_seed(0))
    # Norm 1 instead of √d: the input layer's update carries a factor |x|², which at small width would hide what the
    # other layers do. In float64, since SP's first layer moves by n^{−3/2}.
    x = data.train_x.double() / data.train_x.shape[1] ** 0.5
    needed = perceptron_bytes(x.shape[1], config.widths[-1], config.depth, len(data.classes), x.itemsize)
    require_room("--max-width", needed)
    tell_of_kernel(config.activation)
    report = Report("Coordinate check", plain_fields(config), console)
    checks: dict[str, CoordinateCheck] = {}
    titles: dict[str, str] = {}
    for name, p in config.by_name().items():
        checks[name] = check(p, config, x, data.train_y, len(data.classes), console)
        steps, lr, _ = protocol(p, config)
        φ, several = activation_name(config.activation), "s" if steps > 1 else ""
        titles[name] = f"L = {p.depth}, {φ}, {steps} step{several} at η = {lr:.2g}"
        report.table(checks[name].table(f"{name}: {titles[name]}"))
        report.say(str(p.verdict))
    settings = plain_fields(config)
    results = {name: result.to_json() for name, result in checks.items()}
    report.json(config.out / "coordcheck.json", {"config": settings, "checks": results})
    laws = {f"{name}\n{titles[name]}": result.laws for name, result in checks.items()}
    report.figure(config.out / "coordcheck.png", plot_coordinate_checks(laws))
    report.write(config.out)
    failed = [name for name, result in checks.items() if not result.passed]
    verdict = f"[red]differ from the predictions: {', '.join(failed)}[/]" if failed else "[green]all as predicted[/]"
    console.print(f"measured exponents: {verdict} (± {config.tolerance})", highlight=False)
    return checks


def check(
    p: Parametrization,
    config: CoordCheckConfig,
    x: torch.Tensor,
    y: torch.Tensor,
    n_classes: int,
    console: Console | None = None,
) -> CoordinateCheck:
    """`coordinate_check` of the library's own networks in a parametrization."""
    φ = config.activation
    steps, lr, predicted = protocol(p, config)
    σ_w = preserving_std(φ)

    def make_model(width: int) -> MLP:
        # A small f at the start, so that all seeds see nearly the same error.
        return MLP(
            x.shape[1],
            n_classes,
            width,
            p.depth,
            parametrization=p,
            activation=φ,
            sigma_w=σ_w,
            input_std=1.0,
            readout_std=0.25 * σ_w,
            dtype=x.dtype,
        )

    def make_optimizer(net: nn.Module) -> SGD:
        return SGD(parameter_groups(net, lr))

    result = coordinate_check(
        make_model,
        config.widths,
        x,
        y,
        make_optimizer=make_optimizer,
        steps=steps,
        seeds=config.seeds,
        predicted=predicted,
        tolerance=config.tolerance,
        console=console,
    )
    layers = {f"layers.{layer}": f"layer {layer + 1}" for layer in range(p.depth)}
    return replace(result, laws=tuple(replace(law, part=layers.get(law.part, law.part)) for law in result.laws))


def protocol(p: Parametrization, config: CoordCheckConfig) -> tuple[int, float, Scalings]:
    """Steps, learning rate, and what is predicted of them.

    Unstable parametrizations have exponents to first order in the learning rate only: they are given one step, at a
    rate with which nothing is larger at the greatest width than it would be in a stable one.
    """
    if p.stable:
        return config.steps, config.lr, p.scalings(config.steps)
    predicted = p.scalings(steps=1)
    growth = max(*predicted.hidden_change, predicted.output_change, 0)
    return 1, config.lr * config.widths[-1] ** -float(growth), predicted


def preserving_std(φ: Activation) -> float:
    """σ_w with σ_w² E φ(z)² = 1, which keeps |h| = 1 from layer to layer."""
    one = torch.ones((), dtype=torch.float64)
    return float(φ.dual(one, one, one)) ** -0.5
