"""`mupi mu-limit`: the μ-limit of a deep perceptron on real images, beside finite networks of growing width."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mupi.activations import Activation, Tanh
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.machine import require_room, set_threads
from mupi.commands.options import DataFolder, WrittenFolder, option
from mupi.commands.train.plain_fields import plain_fields
from mupi.commands.train.size import perceptron_bytes
from mupi.data import DatasetName, load
from mupi.distributed.launched import launched
from mupi.distributed.processes import Processes
from mupi.distributed.turns import in_turn
from mupi.mu import MuLimit
from mupi.nets import MLP
from mupi.optim import SGD
from mupi.parametrization import Parametrization
from mupi.recipes.mu_limit.report import report, write_progress
from mupi.recipes.mu_limit.trained_curves import Curve, Curves, curves_of
from mupi.training.cached import cached
from mupi.training.lock import held_by_first
from mupi.training.memory_use import PeakMemory
from mupi.training.run_folder import CONFIG
from mupi.training.sealed import read_sealed, write_sealed

OTHERWISE = "choose another --out"


@dataclass(frozen=True, kw_only=True)
class MuLimitConfig:
    """Train infinitely wide networks in μP and NTP, and finite ones in μP, on two classes of images; compare them.

    Each network's curves are kept in the run's directory as soon as it is trained; a second call trains only those
    that are missing.
    """

    dataset: DatasetName = "digits"
    """The images."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    classes: tuple[int, int] = (3, 8)
    """The two classes, with targets −1 and 1."""
    images: int = 64
    """Training images; every step takes all of them."""
    depth: int = 2
    """L, the number of hidden layers."""
    activation: Activation = Tanh()
    """φ."""
    lr: float = 0.7
    """η, on images of norm about 1."""
    momentum: float = 0.0
    """μ."""
    weight_decay: float = 0.0
    """λ."""
    steps: int = 12
    """T."""
    samples: int = 4096
    """Samples of the limit's random variables, in each replicate."""
    replicates: int = 4
    """Independent repetitions of the limit, for its standard errors."""
    tolerance: float = 0.03
    """Relative size below which the limit does not follow a direction."""
    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192)
    """Of the finite networks."""
    seeds: int = 4
    """Finite networks of each width."""
    threads: int | None = None
    """Threads of torch; None leaves it to torch."""
    out: WrittenFolder = Path("runs/mu-limit")
    """Where curves, `mu_limit.json` and `mu_limit.png` are kept."""

    def __post_init__(self):
        for name in ("images", "depth", "steps", "samples", "replicates", "seeds"):
            positive_int(option(name), getattr(self, name))
        for name in ("lr", "momentum", "weight_decay", "tolerance"):
            non_negative(option(name), getattr(self, name))
        if not self.momentum < 1:
            fail("--momentum", "less than 1", self.momentum)
        if self.images % 2:
            fail("--images", "even, for as many of each class", self.images)
        if self.replicates < 2:
            fail("--replicates", "at least 2, for standard errors", self.replicates)
        for width in self.widths:
            positive_int("--widths", width)
        if not len(set(self.widths)) == len(self.widths) >= 2:
            fail("--widths", "at least two widths, all different", self.widths)
        if len(set(self.classes)) < 2:
            fail("--classes", "two different ones", self.classes)


def mu_limit(config: MuLimitConfig) -> dict[int, float]:
    """Train what is not kept yet; print a table, and write figure and JSON.

    Processes that `torchrun` has started take the networks in turn, in a folder that all see.

    Returns:
        For each width, the root mean square over seeds, steps and images of f_t − limit.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which loses the network in training only.
        ValueError: If the run's directory is of another configuration, another process writes into it, or there are
            too few images.
    """
    set_threads(config.threads)
    refuse_if_too_large(config)
    x, y, test_x = images(config)
    with launched("cpu") as processes, held_by_first(config.out, processes, OTHERWISE):
        return _mu_limit(config, x, y, test_x, Console(quiet=not processes.first), processes)


def _mu_limit(
    config: MuLimitConfig, x: Tensor, y: Tensor, test_x: Tensor, console: Console, processes: Processes
) -> dict[int, float]:
    """`mu_limit` in a folder that is held."""
    free = {"widths", "seeds", "threads", "out", "data_dir"}  # which networks there are, not what they are
    settings = {name: value for name, value in plain_fields(config).items() if name not in free}
    processes.from_first(lambda: keep_settings(config.out, settings))
    jobs: dict[str, Callable[[], dict[str, Tensor]]] = {
        "limit": lambda: limit_curves(config, Parametrization.mup(config.depth), x, y, test_x),
        "ntp": lambda: limit_curves(config, Parametrization.ntk(config.depth), x, y, test_x),
    }
    for width in config.widths:
        for seed in range(config.seeds):
            jobs[f"width-{width}-seed-{seed}"] = lambda n=width, s=seed: finite_curves(config, n, s, x, y, test_x)
    own: dict[str, Curve] = {}

    def trained(name: str) -> Curve:
        own[name] = cached(
            config.out / f"{name}.pt",
            settings | {"network": name},
            lambda: with_cost(jobs[name]),
            partial(curves_of, of_a_limit=name in ("limit", "ntp")),
            advice=f"remove it, or {OTHERWISE}",
        )
        if processes.first:
            write_progress(config.out, own)
        return own[name]

    try:
        results = in_turn(processes, {name: name for name in jobs}, trained, console)
    except KeyboardInterrupt as error:
        kept = sum((config.out / f"{name}.pt").exists() for name in jobs)
        done = f"interrupted with {kept} of {len(jobs)} networks trained"
        raise KeyboardInterrupt(f"{done}, kept in {config.out}; the same command trains the others") from error
    by_width = {n: [results[f"width-{n}-seed-{s}"] for s in range(config.seeds)] for n in config.widths}
    curves = Curves(results["limit"], results["ntp"], by_width, y[:, 0])
    if processes.first:
        write_progress(config.out, results)
        report(config.out, plain_fields(config), curves, console)
    return curves.gaps


def refuse_if_too_large(config: MuLimitConfig) -> None:
    """Refuse what would run out of memory, before anything is computed.

    Raises:
        ValueError: With what is needed and what there is.
    """
    require_room("--widths", perceptron_bytes(config.images, max(config.widths), config.depth, 1))
    # Of each random variable, one for every image, step and layer, its samples in float64.
    require_room("--samples", 8 * config.samples * config.images * config.steps * config.depth)


def keep_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Have a folder be of these settings.

    Raises:
        ValueError: If it is of others.
        DamagedFile: If its ``config.json`` is of no use.
    """
    path, wanted = out / CONFIG, json.loads(json.dumps(settings))
    if path.exists() and (saved := read_sealed(path, OTHERWISE)) != wanted:
        changed = [name for name in saved | wanted if saved.get(name) != wanted.get(name)]
        fail("--out", "a directory of the same settings, or a new one", out, f"{path} has other {', '.join(changed)}")
    write_sealed(path, wanted)


def with_cost(train: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A network's curves, with seconds of processor time and the MB by which memory at its peak was above before."""
    memory, start = PeakMemory(torch.device("cpu")), time.process_time()
    curves = train()
    cost = {"seconds": time.process_time() - start, "peak_mb": memory.growth() / 1e6}
    return curves | {what: torch.tensor(number) for what, number in cost.items()}


def images(
    config: MuLimitConfig,
) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "batch 1"], Float[Tensor, "tests d"]]:
    """Training images of norm about 1 with targets ±1, sorted by class, and test images."""
    data = load(config.dataset, config.data_dir)
    for c in config.classes:
        if not 0 <= c < len(data.classes):
            fail("--classes", f"between 0 and {len(data.classes) - 1}", c)
    kept = [torch.nonzero(data.train_y == c)[:, 0][: config.images // 2] for c in config.classes]
    if min(map(len, kept)) < config.images // 2:
        fail("--images", f"at most twice the images of a class, {2 * min(map(len, kept))}", config.images)
    scale = data.train_x.shape[1] ** 0.5
    y = torch.cat([torch.full((len(part), 1), sign) for part, sign in zip(kept, (-1.0, 1.0), strict=True)])
    tests = (data.test_y == config.classes[0]) | (data.test_y == config.classes[1])
    return data.train_x[torch.cat(kept)].double() / scale, y.double(), data.test_x[tests].double() / scale


def limit_curves(config: MuLimitConfig, p: Parametrization, x: Tensor, y: Tensor, test_x: Tensor) -> dict[str, Tensor]:
    """Train the limit of a parametrization."""
    limit = MuLimit(
        config.depth,
        config.activation,
        p,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay if p.learns_features else 0.0,
        input_std=1.0,
        samples=config.samples,
        replicates=config.replicates,
        tolerance=config.tolerance,
        generator=torch.Generator().manual_seed(0),
        shared=False,
    ).fit(x, y, config.steps, test_x=test_x)
    assert limit.test_outputs is not None
    return {
        "outputs": limit.outputs[..., 0],
        "errors": limit.output_errors[..., 0],
        "losses": limit.losses,
        "loss_errors": limit.loss_errors,
        "tests": limit.test_outputs[..., 0],
        "kernels": limit.feature_kernels,
        "ranks": torch.tensor(limit.ranks),
    }


def finite_curves(
    config: MuLimitConfig, width: int, seed: int, x: Tensor, y: Tensor, test_x: Tensor
) -> dict[str, Tensor]:
    """Train a finite network in μP, in float32."""
    x, y, test_x = x.float(), y.float(), test_x.float()
    net = MLP(
        x.shape[1],
        1,
        width,
        config.depth,
        activation=config.activation,
        input_std=1.0,
        # Its own draws at each width: those of one seed would begin with the same numbers at all of them.
        generator=torch.Generator().manual_seed(1_000_000 * seed + width),
        dtype=torch.float32,
    )
    optimizer = SGD(net.parameter_groups(config.lr, weight_decay=config.weight_decay), momentum=config.momentum)
    outputs, tests, kernels, losses = [], [], [], []
    for _ in range(config.steps):
        with torch.no_grad():
            tests.append(net(test_x)[:, 0])
            kernels.append(net.feature_kernel(x, x))
        f = net(x)
        loss = (f - y).square().mean()
        loss.backward()
        optimizer.step()
        outputs.append(f.detach()[:, 0])
        losses.append(loss.detach())
    stacks = dict(outputs=outputs, tests=tests, kernels=kernels, losses=losses)
    return {name: torch.stack(values).double() for name, values in stacks.items()}
