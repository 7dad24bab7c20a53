"""`mupi export`: a trained network as a file that needs PyTorch only."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from rich.console import Console
from torch import nn
from tyro.conf import Positional

from mupi.checks import fail, positive_int
from mupi.commands.machine import require_room
from mupi.commands.options import SET, File, Only, Seed
from mupi.commands.train.networks import PiPerceptron
from mupi.commands.train.of_raw import OfRaw, about, examples
from mupi.commands.train.onnx_file import write_onnx
from mupi.commands.train.restore import restore_with_meaning
from mupi.commands.train.run import read_config
from mupi.commands.train.size import perceptron_bytes
from mupi.features import Atoms, RandomFeatures
from mupi.nets import plain, sample
from mupi.training.atomic import replacing

CHECKED_ROWS = 64
ABOUT = "about.json"
"""In the exported file: see `about`."""


@dataclass(frozen=True)
class ExportConfig:
    """Write a trained network to a file that PyTorch loads without this library.

    The network of the run itself (of a π-limit, the limit with its `hermite` features), or with --width the finite
    network of that width which it describes, in ordinary linear layers. It is read by
    `torch.export.load(FILE).module()` and takes images as they are, any number at a time: floats of shape (batch,
    channels, height, width), whose pixels are the data set's (digits: 0 to 16; photographs: 0 to 255; drawings: 0 for
    paper, 255 for ink). It standardises them as in training, refuses others, and gives a logit for each class. Of a
    table it takes float64 of shape (batch, columns): numbers as they are, words as their places in the list of their
    column, NaN for what is missing; where numbers were learned it gives these. Shape, range, columns and the classes'
    names are in the file too: `about = {"about.json": ""}; torch.export.load(FILE, extra_files=about);
    json.loads(about["about.json"])`.
    """

    run: Positional[Path]
    """The run's directory."""
    epoch: int | None = None
    """Of the networks that `mupi transfer pretrain` has kept, that of this epoch; None for the last."""
    width: int | None = None
    """Neurons a layer of the finite network; None for the trained network itself."""
    seed: Annotated[Seed, Only(width=SET)] = 0
    """Draws the neurons."""
    onnx: bool = False
    """Write it as ONNX too, beside the file and under its name, for other runtimes; pixels out of range are not refused
    there."""
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
    net, meaning, data = restore_with_meaning(run, config.epoch)
    module: nn.Module = net
    if config.width is not None:
        positive_int("--width", config.width)
        if not isinstance(run.network, PiPerceptron) or isinstance(run.features, RandomFeatures):
            fail("--width", "left out for a finite network, and for other architectures than mlp", config.width)
        depth, sizes = run.network.depth, meaning.description
        require_room("--width", perceptron_bytes(sizes.train_x.shape[1], config.width, depth, sizes.outputs))
        module = plain(sample(net, config.width, generator=torch.Generator().manual_seed(config.seed)))
    elif isinstance(run.features, Atoms):
        fail("--width", "given for a network with atoms, which is no finite program", "none", "try --width 2048")
    raw = examples(meaning, CHECKED_ROWS) if data is None else data.raw(data.test_x)
    whole = OfRaw(module, meaning)
    x = raw[:CHECKED_ROWS]
    program = export_module(whole, x)
    with torch.no_grad():
        expected = whole.answers(module(whole.inputs(x)))
    torch.testing.assert_close(program.module()(x), expected)
    given = {"-epoch": config.epoch, "-": config.width}
    name = "net" + "".join(f"{label}{number}" for label, number in given.items() if number is not None)
    path = config.run / f"{name}.pt2" if config.out is None else config.out
    known = json.dumps(about(meaning), indent=1)
    with replacing(path) as partial:
        torch.export.save(program, partial, extra_files={ABOUT: known})
    right = ""
    if data is not None:
        with torch.no_grad():
            right = f": {(whole(raw).argmax(1) == data.test_y).double().mean():.2%} on the test images"
    wrote(f"{path}{right}")
    if config.onnx:
        write_onnx(OfRaw(module, meaning, checked=False), x, expected, path.with_suffix(".onnx"), known)
        wrote(str(path.with_suffix(".onnx")))
    return path


def wrote(what: str) -> None:
    """Say so."""
    Console().print(f"wrote {what}", highlight=False, markup=False, soft_wrap=True)


def export_module(module: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    """The module's forward pass as a program for any number of rows like those of ``x``."""
    module = module.eval()
    module.requires_grad_(False)
    with torch.no_grad():
        module(x)  # fills caches with real tensors, which the tracer would fill with its own
        return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
