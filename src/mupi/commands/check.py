"""`mupi check`: a module of the user's own in μP at several widths, against the exponents that its graph predicts."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from tyro.conf import Positional

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.machine import set_threads
from mupi.commands.options import SET, UNSET, Only, WrittenFolder
from mupi.commands.train.plain_fields import plain_fields
from mupi.figures.coordinate_checks import plot_coordinate_checks
from mupi.mup import Check, check, check_scaling, parametrize
from mupi.reports import Report
from mupi.training.lock import held


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Train a module of your own at several widths, compare how it scales with what its graph predicts, and say what is
    wrong.
    """

    factory: Positional[str]
    """MODULE:FUNCTION or FILE.py:FUNCTION; called with a width, it returns the module."""
    shape: Annotated[tuple[int, ...], Only(data=UNSET)] = ()
    """Axes of one input, drawn at random, such as 3 32 32; of tokens, their number."""
    tokens: Annotated[int | None, Only(data=UNSET)] = None
    """How many different tokens there are, if inputs are tokens; None for numbers."""
    data: Path | None = None
    """An NPZ file with arrays x and y instead; integers in y are classes, numbers are regressed on."""
    base_width: int = 64
    """The width n0 at which settings are tuned, and nothing changes."""
    widths: tuple[int, ...] = ()
    """Widths to train at; none for 1, 2, 4 and 8 times the base width."""
    optimizer: str = "AdamW"
    """A class of torch.optim; Muon has AdamW for all but hidden matrices."""
    lr: float = 3e-3
    """Rate at the base width."""
    rest_lr: Annotated[float, Only(optimizer=("Muon",))] = 3e-3
    """AdamW's rate beside Muon at the base width."""
    weight_decay: float | None = None
    """Decay at the base width; None for the optimizer's default."""
    as_it_is: bool = False
    """Check the module as it is, with one rate for all, rather than in μP."""
    batch_size: Annotated[int, Only(shape=SET)] = 16
    """Random inputs; every step takes all of them."""
    steps: int = 3
    """Steps of the optimizer."""
    seeds: int = 3
    """Networks at each width."""
    tolerance: float = 0.15
    """How far a measured exponent may be from the predicted one."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    out: WrittenFolder = Path("runs/check")
    """Where `check.json` and `check.png` are written."""

    def __post_init__(self):
        for name in ("base_width", "batch_size", "steps", "seeds"):
            positive_int(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("lr", "rest_lr", "tolerance"):
            non_negative(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("shape", "widths"):
            for size in getattr(self, name):
                positive_int(f"--{name}", size)
        if len(self.widths) == 1:
            fail("--widths", "at least two different widths", *self.widths)
        if not self.shape and self.data is None:
            fail("mupi check", "given --shape, the axes of one input, or --data", "neither")
        known = sorted(name for name, kind in vars(torch.optim).items() if _is_optimizer(kind))
        if self.optimizer not in known:
            fail("--optimizer", f"one of {', '.join(known)}", repr(self.optimizer))


def _is_optimizer(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer


def check_module(config: CheckConfig) -> Check:
    """Check; print its table and its verdict, and write figure and JSON.

    Raises:
        ValueError: If the factory cannot be found, or what it makes cannot be checked.
    """
    with held(config.out, "choose another --out"):
        return _check_module(config, Console())


def _check_module(config: CheckConfig, console: Console) -> Check:
    """`check_module` into a folder that is held."""
    set_threads(config.threads)
    make_model = found(config.factory)
    x, y, loss = data_of(config, make_model)
    kind = getattr(torch.optim, config.optimizer)
    widths = config.widths or tuple(k * config.base_width for k in (1, 2, 4, 8))
    common: dict[str, Any] = dict(widths=widths, seeds=config.seeds, steps=config.steps, tolerance=config.tolerance)
    decay: dict[str, Any] = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    if config.as_it_is:

        def make_optimizer(model: nn.Module, width: int) -> torch.optim.Optimizer:
            return kind(model.parameters(), lr=config.lr, **decay)

        options = dict(common, console=console, make_optimizer=make_optimizer)
        result = check_scaling(make_model, x, y, loss, **options)
    else:
        p = parametrize(make_model, max(widths), config.base_width, x)
        rest = {} if config.optimizer != "Muon" else {"rest": torch.optim.AdamW, "rest_lr": config.rest_lr}
        options = {**common, **decay, **rest}
        result = check(p, x, y, loss, optimizer=kind, lr=config.lr, console=console, **options)
    table = result.table(config.factory)
    table.caption = None
    report = Report(f"{config.factory} in μP", plain_fields(config), console)
    report.table(table)
    report.say(*result.explain().splitlines())
    report.json(config.out / "check.json", {"config": plain_fields(config), **result.to_json()})
    laws = [c.law for c in result.compared if "w" not in c.law.quantity]
    report.figure(config.out / "check.png", plot_coordinate_checks({config.factory: laws}))
    report.write(config.out)
    console.print("[green]passed[/]" if result.passed else "[red]not passed[/]")
    return result


def found(factory: str) -> Callable[[int], nn.Module]:
    """The function of a name MODULE:FUNCTION or FILE.py:FUNCTION.

    Raises:
        ValueError: If there is none.
    """
    where, _, name = factory.rpartition(":")
    if not where or not name:
        fail("mupi check", "given MODULE:FUNCTION or FILE.py:FUNCTION", repr(factory))
    if where.endswith(".py"):
        if not Path(where).is_file():
            fail("mupi check", "given a file that exists", f"`{where}`")
        spec = spec_from_file_location(Path(where).stem, where)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        try:
            module = import_module(where)
        except ModuleNotFoundError as error:
            fail("mupi check", "given a module that can be imported", f"`{where}`: {error}")
    made = getattr(module, name, None)
    if not callable(made):
        fail("mupi check", f"given a function of {where}", repr(name))
    function: Any = made
    return function


def data_of(
    config: CheckConfig, make_model: Callable[[int], nn.Module]
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Inputs, targets and the loss: those of a file, or random ones that fit what the module returns.

    Raises:
        ValueError: If the file has other arrays, or the module returns no single tensor.
    """
    generator = torch.Generator().manual_seed(0)
    if config.data is not None:
        x, y = loaded(config.data)
    elif config.tokens is not None:
        x, y = torch.randint(config.tokens, (config.batch_size, *config.shape), generator=generator), None
    else:
        x, y = torch.randn(config.batch_size, *config.shape, generator=generator), None
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        out = make_model(config.base_width).eval()(x)
    if not isinstance(out, Tensor) or out.ndim < 2:
        came = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        fail("mupi check", "given a module that returns one tensor (batch, ..., outputs)", came)
    if y is None:
        y = torch.randint(out.shape[-1], out.shape[:-1], generator=generator)
        y = y if out.shape[-1] > 1 else torch.randn(out.shape, generator=generator)
    return x, y, regression if y.is_floating_point() else classification


def classification(out: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over the last axis."""
    return cross_entropy(out.flatten(0, -2), y.flatten())


def regression(out: Tensor, y: Tensor) -> Tensor:
    """The mean square of the differences."""
    return mse_loss(out, y.reshape(out.shape))


def loaded(path: Path) -> tuple[Tensor, Tensor]:
    """x and y of an NPZ file.

    Raises:
        ValueError: If it has none.
    """
    if not path.is_file():
        fail("--data", "a file that exists", f"`{path}`")
    try:
        with np.load(path) as arrays:
            names = sorted(arrays)
            if not {"x", "y"} <= set(names):
                fail("--data", "an NPZ file with arrays x and y", f"`{path}` with {', '.join(names)}")
            x, y = (torch.from_numpy(arrays[name]) for name in "xy")
    except (OSError, TypeError, AttributeError, EOFError) as error:
        fail("--data", "an NPZ file with arrays x and y", f"`{path}`: {error}")
    x, y = (t.float() if t.is_floating_point() else t.long() for t in (x, y))
    if x.ndim < 2 or len(x) != len(y):
        fail("--data", "x of shape (samples, ...) and as many y", f"shapes {tuple(x.shape)} and {tuple(y.shape)}")
    return x, y
