"""`mupi recipe ensemble`: wide networks trained from many initial values, in the bands that their kernels predict."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mupi.activations import Activation, Erf
from mupi.architecture.zoo import perceptron
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.size import perceptron_bytes
from mupi.commands.widths import doublings
from mupi.distributed.launched import launched
from mupi.distributed.processes import Processes
from mupi.distributed.turns import in_turn
from mupi.kernels import KernelDynamics
from mupi.recipes.widths.ensemble_plots import plot_approach, plot_bands
from mupi.recipes.widths.trained_ensemble import Bands, Curve, Training, beside_theory, side_by_side, train_ensemble
from mupi.reports import Report
from mupi.statistics import PowerLaw
from mupi.training.lock import held_by_first


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Train networks from many initial values on a curve, beside the mean and deviation of infinitely many and wide.

    By gradient descent on all points in the NTK parametrization; what is predicted is that of `mupi.KernelDynamics`
    after as many steps, with the tangent kernel of the architecture and the covariance of its start.
    """

    depth: int = 1
    """Hidden layers."""
    activation: Activation = Erf()
    """φ."""
    sigma_w: float = 1.5
    """σ of weights."""
    sigma_b: float = 0.3
    """σ of biases."""
    min_width: int = 64
    """The smallest width; each further one is twice as wide."""
    max_width: int = 4096
    """The largest width, which the figure of the bands shows."""
    seeds: int = 50
    """Networks at each width."""
    points: int = 6
    """Training points on the circle."""
    grid: int = 60
    """Other points, at which networks are compared."""
    steps: tuple[int, ...] = (0, 4, 32, 1000)
    """After how many steps they are compared, increasing."""
    rate: float = 0.5
    """The learning rate in units of the largest one that converges."""
    momentum: float = 0.0
    """μ of the steps, below 1."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/ensemble")
    """Where `ensemble.json`, `bands.png` and `approach.png` are written."""

    def __post_init__(self):
        for name in ("depth", "min_width", "max_width", "seeds", "points", "grid"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("sigma_w", "sigma_b"):
            non_negative(f"--{name.replace('_', '-')}", getattr(self, name))
        if self.sigma_w == 0:
            fail("--sigma-w", "positive", self.sigma_w)
        if not 0 < self.rate < 1:
            fail("--rate", "between 0 and 1", self.rate)
        if not 0 <= self.momentum < 1:
            fail("--momentum", "from 0 to below 1", self.momentum)
        if self.seeds < 3:
            fail("--seeds", "at least 3", self.seeds)
        if self.max_width < 2 * self.min_width:
            fail("--max-width", f"at least twice --min-width, {2 * self.min_width}", self.max_width)
        # The first of them is what each network's own limit starts from.
        if self.steps[:1] != (0,) or any(b <= a for a, b in zip(self.steps, self.steps[1:], strict=False)):
            fail("--steps", "0 and then increasing", " ".join(map(str, self.steps)))

    @property
    def widths(self) -> list[int]:
        """min_width, twice that, and so on."""
        return doublings(self.min_width, self.max_width)


def ensemble(config: EnsembleConfig) -> dict[int, list[Bands]]:
    """Train, print what is inside, write JSON and figures.

    Processes that `torchrun` has started take the networks in turn, those that are trained side by side at once.

    Returns:
        For each width the bands after each of the steps.

    Raises:
        ValueError: If another process writes into the folder.
    """
    with launched("cpu") as processes, held_by_first(config.out, processes, "choose another --out"):
        return _ensemble(config, Console(quiet=not processes.first), processes)


def _ensemble(config: EnsembleConfig, console: Console, processes: Processes) -> dict[int, list[Bands]]:
    """`ensemble` into a folder that is held."""
    set_threads(config.threads)
    require_room("--max-width", perceptron_bytes(2, config.widths[-1], config.depth, 1))
    arch = perceptron(2, 1, depth=config.depth, activation=config.activation)
    sigmas = config.sigma_w, config.sigma_b
    kernels = arch.ntk(*sigmas), arch.nngp(*sigmas)
    curve = Curve.of(config.points, config.grid)
    largest = KernelDynamics(kernels[0]).fit(curve.X, curve.targets).largest_lr
    training = Training(config.steps, config.rate * (1 + config.momentum) * largest, config.momentum)
    chunks = {width: side_by_side(arch, width, range(config.seeds), sigmas) for width in config.widths}
    # The widest, which take longest, first: no process is to wait long for another at the end.
    pieces = {(n, i): f"{len(c)} networks, n = {n:,}" for n in reversed(chunks) for i, c in enumerate(chunks[n])}
    trained = in_turn(
        processes, pieces, lambda k: train_ensemble(arch, k[0], chunks[k[0]][k[1]], sigmas, curve, training), console
    )
    found = {}
    for width in config.widths:
        outputs = torch.cat([trained[width, i] for i in range(len(chunks[width]))])
        found[width] = beside_theory(outputs, curve, training, kernels)
    if not processes.first:
        return found
    laws = power_laws(config.steps, found)
    report = Report("Trained networks, and the bands of their theory", plain_fields(config), console)
    report.table(bands_table(config, found))
    report.table(approach_table(laws))
    save(config, curve, found, laws, report)
    return found


def power_laws(steps: tuple[int, ...], found: dict[int, list[Bands]]) -> list[PowerLaw]:
    """How far networks are from their own limits after some steps, by width; none before the first, where they start.

    A tangent kernel at width n is off its limit by n^{-1/2}, and so is what it teaches.
    """
    return [
        PowerLaw(
            "|f − f∞|", f"{t:,} steps", tuple(found), tuple(tuple(bands[i].gaps) for bands in found.values()), -0.5
        )
        for i, t in enumerate(steps)
        if t
    ]


def bands_table(config: EnsembleConfig, found: dict[int, list[Bands]]) -> Table:
    """The widest networks, after each of the steps."""
    width = config.widths[-1]
    title = f"{config.seeds} networks of width {width:,}, depth {config.depth}, {config.points} points"
    shown = Table(
        "steps", "mean inside", "outputs inside", "directions", "p(mean)", "p(variance)", "variance", title=title
    )
    shown.caption = (
        "mean inside: share of points where the networks' mean is within 1.96 standard errors of the predicted one; "
        "outputs inside: share within 2 predicted standard deviations (95.4 % of Gaussians); p of χ² in the directions "
        "of the predicted covariance; variance: over the predicted one"
    )
    for steps, band in zip(config.steps, found[width], strict=True):
        shown.add_row(
            f"{steps:,}", f"{band.inside:.1%}", f"{band.covered:.1%}", f"{band.directions}", f"{band.p_mean:.2f}",
            f"{band.p_variance:.2f}", f"{band.variance_ratio:.3f}",
        )  # fmt: skip
    return shown


def approach_table(laws: list[PowerLaw]) -> Table:
    """Fitted slopes."""
    shown = Table("after", "slope", "95 %", "theory", title="distance of a network from its own limit")
    for law in laws:
        shown.add_row(law.part, f"{law.slope:+.3f}", f"± {law.half_width:.3f}", f"{law.predicted}")
    return shown


def save(
    config: EnsembleConfig, curve: Curve, found: dict[int, list[Bands]], laws: list[PowerLaw], report: Report
) -> None:
    """Write everything."""
    widths = [
        {"width": width, "bands": [{"steps": t, **band.to_json()} for t, band in zip(config.steps, of, strict=True)]}
        for width, of in found.items()
    ]
    saved = {"config": plain_fields(config), "widths": widths, "laws": [law.to_json() for law in laws]}
    report.json(config.out / "ensemble.json", saved)
    widest = config.widths[-1]
    bands = plot_bands(curve, dict(zip(config.steps, found[widest], strict=True)), widest)
    report.figure(config.out / "bands.png", bands)
    at = {f"{t:,} steps": [of[i].variance_ratio for of in found.values()] for i, t in enumerate(config.steps)}
    report.figure(config.out / "approach.png", plot_approach(laws, at))
    report.write(config.out)
