"""What a training run is made of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.options import SET, UNSET, DataFolder, Name, Only, Seed, WrittenFolder
from mupi.commands.train.networks import (
    NAMES,
    Network,
    Projected,
    check_network,
    converted,
    network_of,
    plain_network,
)
from mupi.commands.train.plain_fields import run_fields
from mupi.data import DatasetName
from mupi.data.own.targets import TaskName
from mupi.features import Atoms, Features

FLOATS = ("lr", "lr_first", "lr_last", "lr_bias", "drop", "weight_decay", "momentum")

# Where and for how long a run goes on: it may be resumed with other values, since no epoch depends on them.
FREE_ON_RESUME = frozenset({
    "epochs", "name", "runs_dir", "data_dir", "device", "threads", "compile", "keep_epochs",
    "data", "test",  # whose contents a run knows, wherever they are
})  # fmt: skip

OWN = "own"
"""The data set that is a user's file."""

PART = (Only(train_size=SET), Only(validation=SET), Only(classes=SET), Only(dataset=(OWN,)))
"""Where something of the data is drawn."""

OF_OWN = ("data", "target", "task", "ignore", "test", "test_share", "image_size")
"""The options that only that one has."""

OF_OTHERS = ("classes", "files")
"""Those that it has not."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a network on a data set.

    There are no defaults but those of a protocol: start from one of `mupi.commands.train.presets` with `changed`.
    """

    dataset: Literal[DatasetName, "own"]
    """The data; `digits` needs no download, `own` is a file of yours, see --data. The defaults below are those of its
    protocol."""
    train_size: int | None
    """Train on a random subset of this many images; None for all."""
    validation: int | None
    """Hold out this many training images and test on them instead of the test images; None for none."""

    flip: bool
    """Mirror each training image left to right with probability ½, anew in every epoch."""
    shift: int
    """Move each training image by up to this many pixels in each direction, anew in every epoch; 0 for none."""

    network: Network
    """What is trained."""

    epochs: int
    """Passes over the training images."""
    batch_size: int
    """Images a step."""
    lr: float
    """Learning rate of the hidden layers."""
    lr_first: float
    """Multiplier of the first layer's learning rate."""
    lr_last: float
    """Multiplier of the readout's learning rate."""
    lr_bias: Annotated[float, Only(bias_scale=SET)]
    """Multiplier of the biases' learning rate."""
    drop_epoch: int | None
    """After this many epochs the learning rate and the clipping norm drop; None for never."""
    drop: Annotated[float, Only(drop_epoch=SET)]
    """The factor that they drop by."""
    clip: float | None
    """Largest gradient norm of each parameter; None for no clipping."""
    weight_decay: float
    """Weight decay."""
    momentum: float
    """Momentum."""
    seed: Seed
    """Decides the initial network, the subset of the data, the order of the images and how they are moved."""
    data_seed: Annotated[Seed | None, *PART] = None
    """Draws the subset of the data, its classes and the held-out images, or the test rows of a file of yours; None for
    what the seed decides."""
    classes: int | None = None
    """Keep this many classes, drawn at random; None for all."""
    files: Annotated[int | None, Only(dataset=("imagenet32",))] = None
    """imagenet32: read this many of the ten training files; None for all."""
    data: str | None = None
    """The file: a table (.csv, .tsv, .parquet), arrays x and y (.npz; .pt of torch.save), a folder with a folder of
    images for each class, or hf:NAME, a data set of Hugging Face or a folder that its save_to_disk has written."""
    target: str | None = None
    """The column of a table to be learned."""
    task: TaskName | None = None
    """What the target is: classes or numbers; None to find out: words are classes, and what whole numbers were taken
    for is printed."""
    ignore: tuple[str, ...] = ()
    """Columns of a table to leave out, such as names."""
    test: str | None = None
    """Another file, with the rows to test on; None for a share of the rows."""
    test_share: Annotated[float, Only(test=UNSET)] = 0.2
    """The share of rows to test on, of each class alike."""
    image_size: int | None = None
    """Scale images to this many pixels a side; None for images of one size."""
    label_smoothing: float = 0.0
    """ε: of the label, 1 − ε stays with the class and the rest is shared by all classes, in training only."""
    anneal: int = 0
    """In this many last epochs the learning rate, but not the clipping norm, falls to 0 on a straight line; 0 for none.
    Such a run ends where it was to end: it is not resumed for more epochs."""
    keep_epochs: bool = False
    """Keep the network after each epoch, and the untrained one, in the folder `epochs` of the run."""

    name: Name = None
    """The run's folder in runs-dir; None for one made of what differs from the defaults."""
    runs_dir: WrittenFolder = Path("runs")
    """Where runs are kept."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products of matrices in training, by torch.autocast; weights, norms, sums and tests stay in float32, and so do
    layers of atoms and those whose gradient is kept as factors. Processors with bfloat16 products (AVX512-BF16, AMX)
    are several times as fast with them."""
    compile: bool = False
    """Fuse what is between the products by torch.compile, which takes a minute at first, and on CPUs a C++ compiler."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    resume: bool = False
    """Go on with the saved run of this name."""
    overwrite: bool = False
    """Replace the saved run of this name."""

    def check(self) -> None:
        """Refuse values that make no sense, as far as the parts of a run do not do so themselves.

        Not done on construction, where the command line's parser would make a page of one line.

        Raises:
            ValueError: With the field's name.
        """
        for field in ("epochs", "batch_size"):
            positive_int(field, getattr(self, field))
        for field in ("drop_epoch", "threads", "classes", "files", "image_size"):
            if getattr(self, field) is not None:
                positive_int(field, getattr(self, field))
        for field in FLOATS:
            non_negative(field, getattr(self, field))
        check_network(self.network)
        self._check_data()
        if not self.momentum < 1:
            fail("momentum", "less than 1", self.momentum)
        for field in ("lr_first", "lr_last", "lr_bias"):
            if self.lr * getattr(self, field) > torch.finfo(torch.float32).max:
                fail(field, "such that lr times it is a float32", f"{getattr(self, field)} with lr {self.lr}")
        if not 0 <= self.anneal <= self.epochs:
            fail("anneal", f"between 0 and all {self.epochs} epochs", self.anneal)
        if not 0 <= self.label_smoothing <= 1:
            fail("label_smoothing", "between 0 and 1", self.label_smoothing)
        if self.compile and isinstance(self.features, Atoms):
            fail("compile", "left out with --features atoms, whose number grows at each step", True)
        if self.shift < 0:
            fail("shift", "a number of pixels ≥ 0", self.shift)
        if self.resume and self.overwrite:
            fail("resume", "without overwrite", "both", "leave one of them out")

    def _check_data(self) -> None:
        if self.dataset == OWN and self.data is None:
            fail("data", "given for --dataset own: a file, a folder of images, or hf:NAME", None)
        for field in OF_OTHERS if self.dataset == OWN else OF_OWN:
            default = type(self).__dataclass_fields__[field].default
            if getattr(self, field) != default:
                fail(field, f"left out for {self.dataset}", getattr(self, field))
        if not 0 < self.test_share < 1:
            fail("test_share", "between 0 and 1", self.test_share)
        if self.task == "regression" and self.label_smoothing:
            fail("label_smoothing", "0 for numbers, which are no labels", self.label_smoothing)

    @property
    def stem(self) -> str:
        """What is trained on, for a file's name."""
        if self.data is None:
            return self.dataset
        return re.sub(r"[^\w-]+", "_", self.data.rstrip("/").rpartition("/")[2].partition(".")[0]).strip("_") or OWN

    @property
    def directory(self) -> Path:
        """The run's folder."""
        return self.runs_dir / (self.name or f"{self.stem}-{self.kind}-seed{self.seed}")

    @property
    def kind(self) -> str:
        """The kind of network and its size, for a file's name."""
        plain = plain_network(self.network)
        arch = "" if plain["arch"] == "mlp" else f"{plain['arch']}-"
        if plain["network"] != "pi":
            return f"{arch}{plain['network']}-n{plain['width']}"
        return f"{arch}{plain['features']}-r{plain['rank']}" + (f"-n{plain['width']}" if "width" in plain else "")

    @property
    def features(self) -> Features | None:
        """The network's feature map; None for one that is not projected."""
        return self.network.features if isinstance(self.network, Projected) else None

    def changed(self, *, kind: Any = None, otherwise: Any = (), **changes: Any) -> "TrainConfig":
        """With other values, of this configuration's own fields or of its network's.

        Args:
            kind: The class of the network, if it is to be another; it has the old one's values as far as it takes them.
            otherwise: Networks that have what the old one has not.
            changes: By the names of fields.
        """
        network = changes.pop("network", self.network)
        names = {field.name for field in fields(kind or network)}
        inner = {name: changes.pop(name) for name in list(changes) if name in names}
        network = replace(network, **inner) if kind is None else converted(network, kind, *otherwise, **inner)
        return replace(self, network=network, **changes)

    def as_plain(self) -> dict[str, Any]:
        """All that describes the run, as numbers and strings for a file: by the names of options."""
        own = {name: value for name, value in run_fields(self).items() if name != "network"}
        # As a file gives it back.
        return own | {"ignore": list(self.ignore)} | plain_network(self.network)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of `as_plain`, and of what earlier versions wrote.

        Raises:
            KeyError: If a field is missing.
            TypeError: If there is one that this version does not know.
            ValueError: If there is no such network.
        """
        own = dict[str, Any]((name, value) for name, value in plain.items() if name not in NAMES)
        if own.get("data_dir") is not None:
            own["data_dir"] = Path(own["data_dir"])
        own["runs_dir"] = Path(own["runs_dir"])
        own["ignore"] = tuple(own.get("ignore", ()))
        return cls(network=network_of(plain), **own)

    def identity(self) -> dict[str, Any]:
        """The part of `as_plain` that decides the numbers of each epoch."""
        decisive = {"epochs"} if self.anneal else set()
        return {name: value for name, value in self.as_plain().items() if name not in FREE_ON_RESUME - decisive}


def current_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """`current` of the run that settings of a result hold."""
    return {**saved, "run": current(saved["run"])}


def current(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote, or a part of it, without the options of other networks than the one it is of."""
    own = {name: value for name, value in saved.items() if name not in NAMES}
    return own | plain_network(network_of(saved))
