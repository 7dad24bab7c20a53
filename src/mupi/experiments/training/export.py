"""`mupi export`: a trained network as a file that needs PyTorch only."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from rich.console import Console
from torch import nn
from tyro.conf import Positional

from mupi.checks import fail, positive_int
from mupi.experiments.options import SET, File, Only, Seed
from mupi.experiments.training.machine import require_room
from mupi.experiments.training.restore import restore, restore_epoch
from mupi.experiments.training.run import read_config
from mupi.experiments.training.size import perceptron_bytes
from mupi.features import Atoms, Random
from mupi.nets import PiMLP, PiNetwork, plain
from mupi.training.atomic import replacing

CHECKED_IMAGES = 64


@dataclass(frozen=True)
class ExportConfig:
    """Write a trained network to a file that PyTorch loads without this library.

    The network of the run itself (of a π-limit, the limit with its `hermite` features), or with --width the finite
    network of that width which it describes, in ordinary linear layers. It is read by
    `torch.export.load(FILE).module()` and takes images standardised as in training, any number at a time.
    """

    run: Positional[Path]
    """The run's directory."""
    epoch: int | None = None
    """Of the networks that `mupi transfer pretrain` has kept, that of this epoch; None for the last."""
    width: int | None = None
    """Neurons a layer of the finite network; None for the trained network itself."""
    seed: Annotated[Seed, Only(width=SET)] = 0
    """Draws the neurons."""
    out: Annotated[Path | None, File()] = None
    """The file; None for `net.pt2`, or `net-epochEPOCH-WIDTH.pt2` of those given, in the run's directory."""


def export(config: ExportConfig) -> Path:
    """Write the file, after checking that what it holds gives the network's outputs.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no such run, or the epoch was not kept.
        ValueError: If the network cannot be exported.
    """
    # On the CPU, wherever it was trained: there it can be read everywhere.
    run = replace(read_config(config.run), device="cpu")
    net, data = restore(run)
    if config.epoch is not None:
        net, _ = restore_epoch(run, config.epoch)
    module: nn.Module = net
    if config.width is not None:
        positive_int("--width", config.width)
        if not isinstance(net, PiMLP) or isinstance(run.feature_map, Random):
            fail("--width", "left out for a finite network, and for other architectures than mlp", config.width)
        require_room("--width", perceptron_bytes(data.train_x.shape[1], config.width, run.depth, len(data.classes)))
        module = plain(net.sample(config.width, torch.Generator().manual_seed(config.seed)))
    elif isinstance(net, PiNetwork) and isinstance(run.feature_map, Atoms):
        fail("--width", "given for a network with atoms, which is no finite program", "none", "try --width 2048")
    x = data.test_x[:CHECKED_IMAGES]
    program = export_module(module, x)
    torch.testing.assert_close(program.module()(x), module(x).detach())
    given = {"-epoch": config.epoch, "-": config.width}
    name = "net" + "".join(f"{label}{number}" for label, number in given.items() if number is not None)
    path = config.run / f"{name}.pt2" if config.out is None else config.out
    with replacing(path) as partial:
        torch.export.save(program, partial)
    with torch.no_grad():
        right = (module(data.test_x).argmax(1) == data.test_y).double().mean()
    Console().print(f"wrote {path}: {100 * float(right):.2f} % on the test images", highlight=False, soft_wrap=True)
    return path


def export_module(module: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    """The module's forward pass as a program for any number of rows like those of ``x``."""
    module = module.eval()
    module.requires_grad_(False)
    with torch.no_grad():
        module(x)  # fills caches with real tensors, which the tracer would fill with its own
        return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
