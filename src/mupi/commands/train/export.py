"""`mupi export`: a trained network as a file that needs PyTorch only."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn
from tyro.conf import Positional

from mupi.checks import fail, positive_int
from mupi.commands.machine import require_room
from mupi.commands.options import SET, File, Only, Seed
from mupi.commands.train.networks import PiPerceptron
from mupi.commands.train.restore import restore, restore_epoch
from mupi.commands.train.run import read_config
from mupi.commands.train.size import perceptron_bytes
from mupi.data import Dataset
from mupi.features import Atoms, RandomFeatures
from mupi.nets import plain, sample
from mupi.torch_internals import assert_on_device
from mupi.training.atomic import replacing

CHECKED_IMAGES = 64
ABOUT = "about.json"
"""In the exported file: see `about`."""


@dataclass(frozen=True)
class ExportConfig:
    """Write a trained network to a file that PyTorch loads without this library.

    The network of the run itself (of a π-limit, the limit with its `hermite` features), or with --width the finite
    network of that width which it describes, in ordinary linear layers. It is read by
    `torch.export.load(FILE).module()` and takes images as they are, any number at a time: floats of shape (batch,
    channels, height, width), whose pixels are the data set's (digits: 0 to 16; photographs: 0 to 255; drawings: 0 for
    paper, 255 for ink). It standardises them as in training, refuses others, and gives a logit for each class.
    Shape, range and the classes' names are in the file too: `about = {"about.json": ""}; torch.export.load(FILE,
    extra_files=about); json.loads(about["about.json"])`.
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
        if not isinstance(run.network, PiPerceptron) or isinstance(run.features, RandomFeatures):
            fail("--width", "left out for a finite network, and for other architectures than mlp", config.width)
        depth = run.network.depth
        require_room("--width", perceptron_bytes(data.train_x.shape[1], config.width, depth, len(data.classes)))
        module = plain(sample(net, config.width, generator=torch.Generator().manual_seed(config.seed)))
    elif isinstance(run.features, Atoms):
        fail("--width", "given for a network with atoms, which is no finite program", "none", "try --width 2048")
    whole, pixels = OfPixels(module, data), data.raw(data.test_x)
    x = pixels[:CHECKED_IMAGES]
    program = export_module(whole, x)
    torch.testing.assert_close(program.module()(x), module(data.test_x[:CHECKED_IMAGES]).detach())
    given = {"-epoch": config.epoch, "-": config.width}
    name = "net" + "".join(f"{label}{number}" for label, number in given.items() if number is not None)
    path = config.run / f"{name}.pt2" if config.out is None else config.out
    with replacing(path) as partial:
        torch.export.save(program, partial, extra_files={ABOUT: json.dumps(about(data), indent=1)})
    with torch.no_grad():
        right = (whole(pixels).argmax(1) == data.test_y).double().mean()
    Console().print(f"wrote {path}: {100 * float(right):.2f} % on the test images", highlight=False, soft_wrap=True)
    return path


class OfPixels(nn.Module):
    """A network of standardised images as a function of their pixels.

    Args:
        net: The network.
        data: What it was trained on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, data: Dataset):
        super().__init__()
        self.net = net
        self.largest = data.pixels.largest
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(data.pixels, name))[:, None, None])

    def forward(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits; pixels out of range, such as those of standardised images, are refused."""
        if self.largest is not None:
            in_range = ((pixels >= 0) & (pixels <= self.largest)).all()
            assert_on_device(in_range, f"pixels must be numbers from 0 to {self.largest}, not standardised")
        return self.net(((pixels - self.mean) / self.std).flatten(1))


def about(data: Dataset) -> dict[str, Any]:
    """What a file's user has to know, as JSON has it."""
    return {
        "dataset": data.name,
        "input": {
            "shape": ["batch", *data.image_shape],
            "dtype": "float32",
            "smallest": None if data.pixels.largest is None else 0,
            "largest": data.pixels.largest,
        },
        "mean": data.pixels.mean,
        "std": data.pixels.std,
        "output": "logits",
        "classes": data.classes,
    }


def export_module(module: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    """The module's forward pass as a program for any number of rows like those of ``x``."""
    module = module.eval()
    module.requires_grad_(False)
    with torch.no_grad():
        module(x)  # fills caches with real tensors, which the tracer would fill with its own
        return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
