"""What a training run is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from mupi.activations import GELU, Abs, Activation, Cos, Erf, LeakyReLU, NormalizedPolynomial, ReLU, Sin, Tanh
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.options import SET, DataFolder, Name, Only, Seed, WrittenFolder
from mupi.commands.train.plain_fields import run_fields
from mupi.data import DatasetName
from mupi.features import Atoms, Features, Hermite, RandomFeatures
from mupi.nets import CENTERED

FeatureName = Literal["atoms", "hermite", "random"]
NetworkName = Literal["pi", "mup", "standard"]
ArchName = Literal["mlp", "cnn", "resnet", "transformer"]
ActivationName = Literal["relu", "leaky-relu", "abs", "erf", "gelu", "tanh", "sin", "cos", "quadratic", "centred"]

ACTIVATIONS: dict[ActivationName, Activation] = {
    "relu": ReLU(),
    "leaky-relu": LeakyReLU(),
    "abs": Abs(),
    "erf": Erf(),
    "gelu": GELU(),
    "tanh": Tanh(),
    "sin": Sin(),
    "cos": Cos(),
    # Of the ReLU's degrees 0, 1 and 2 with weights 1/2π, 1/4, 1/4π, the latter two at equal weight.
    "quadratic": NormalizedPolynomial.with_weights(0.0, 0.25, 0.25),
    "centred": CENTERED,
}

HERMITE = Only(network=("pi",), features=("hermite",))
HIGHER = Only(network=("pi",), features=("hermite",), degree=range(3, 100))
PERCEPTRON = Only(network=("mup", "standard"), arch=("mlp",))
PART = (Only(train_size=SET), Only(validation=SET), Only(classes=SET))

FLOATS = (
    "lr", "lr_first", "lr_last", "lr_bias", "drop", "weight_decay", "momentum", "input_scale", "output_scale",
    "bias_scale", "readout_init", "sigma_w", "sigma_first",
)  # fmt: skip

# Where and for how long a run goes on: it may be resumed with other values, since no epoch depends on them.
FREE_ON_RESUME = frozenset({"epochs", "name", "runs_dir", "data_dir", "device", "threads", "keep_epochs"})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a network on a data set.

    There are no defaults but those of a protocol: start from one of `mupi.commands.train.presets` with
    `dataclasses.replace`.
    """

    dataset: DatasetName
    """The data; `digits` needs no download. The defaults below are those of its protocol."""
    train_size: int | None
    """Train on a random subset of this many images; None for all."""
    validation: int | None
    """Hold out this many training images and test on them instead of the test images; None for none."""

    flip: bool
    """Mirror each training image left to right with probability ½, anew in every epoch."""
    shift: int
    """Move each training image by up to this many pixels in each direction, anew in every epoch; 0 for none."""

    network: NetworkName
    """`pi` is the π-limit or a finite π-net, by the choice of features; `mup` and `standard` are finite perceptrons
    in the maximal update and in the standard parametrization."""
    features: Annotated[FeatureName, Only(network=("pi",))]
    """pi: the feature map. `atoms` is the exact π-limit, whose memory grows; `hermite` the π-limit to a small error at
    constant memory; `random` the finite π-net."""
    degree: Annotated[int, HERMITE]
    """hermite: the highest degree that is kept."""
    subspace: Annotated[int | None, HERMITE]
    """hermite: how many directions degree 2 is kept in; None for all."""
    subspace_high: Annotated[int | None, HIGHER]
    """hermite: the same of each higher degree; None for as many."""
    width: Annotated[int, Only(network=("mup", "standard")), Only(features=("random",))]
    """The width of a finite network: mup, standard, and pi with random features."""
    activation: ActivationName
    """φ; `quadratic` is the one with kernel |b||g|(q/4 + q²/4), `centred` with |b||g|(q/4 + q²); for both hermite of
    degree 2 is exact."""
    rank: Annotated[int, Only(network=("pi",))]
    """pi: r, the rank of each junction."""
    depth: int
    """L, the number of hidden layers."""
    input_scale: Annotated[float, Only(arch=("mlp", "resnet")), Only(arch=("cnn",), network=("pi",))]
    """Multiplier of the first layer's output."""
    output_scale: float
    """Multiplier of the readout's output."""
    bias_scale: float
    """Multiplier of all biases; 0 for none."""
    readout_init: Annotated[float, Only(network=("pi",)), Only(arch=("mlp",))]
    """Size of the initial readout: pi, entries of standard deviation readout-init/rank; mup and standard, of
    readout-init·sigma-w in place of sigma-w. 0 for a network that starts at 0."""
    sigma_w: Annotated[float, PERCEPTRON]
    """mup, standard: initial weights are N(0, sigma-w²/n)."""
    sigma_first: Annotated[float | None, PERCEPTRON]
    """mup, standard: sigma of the first layer; None for sigma-w/√d."""

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
    arch: ArchName = "mlp"
    """The architecture; of cnn, resnet and transformer there are the pi networks, of cnn the mup network too. For them
    depth is the number of convolutions, of branches, and of blocks."""
    data_seed: Annotated[Seed | None, *PART] = None
    """Draws the subset of the data, its classes and the held-out images; None for what the seed decides."""
    classes: int | None = None
    """Keep this many classes, drawn at random; None for all."""
    files: Annotated[int | None, Only(dataset=("imagenet32",))] = None
    """imagenet32: read this many of the ten training files; None for all."""
    label_smoothing: float = 0.0
    """ε: of the label, 1 − ε stays with the class and the rest is shared by all classes, in training only."""
    anneal: int = 0
    """In this many last epochs the learning rate, but not the clipping norm, falls to 0 on a straight line; 0 for none.
    Such a run ends where it was to end: it is not resumed for more epochs."""
    keep_epochs: bool = False
    """Keep the network after each epoch, and the untrained one, in the folder `epochs` of the run."""

    name: Name = None
    """The run's folder in runs-dir; None for one made of data set, features, rank and seed."""
    runs_dir: WrittenFolder = Path("runs")
    """Where runs are kept."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
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
        for field in ("epochs", "batch_size", "rank", "depth", "width"):
            positive_int(field, getattr(self, field))
        for field in ("drop_epoch", "threads", "classes", "files", "subspace", "subspace_high"):
            if getattr(self, field) is not None:
                positive_int(field, getattr(self, field))
        for field in FLOATS:
            if getattr(self, field) is not None:
                non_negative(field, getattr(self, field))
        if not self.momentum < 1:
            fail("momentum", "less than 1", self.momentum)
        for field in ("lr_first", "lr_last", "lr_bias"):
            if self.lr * getattr(self, field) > torch.finfo(torch.float32).max:
                fail(field, "such that lr times it is a float32", f"{getattr(self, field)} with lr {self.lr}")
        if not 0 <= self.anneal <= self.epochs:
            fail("anneal", f"between 0 and all {self.epochs} epochs", self.anneal)
        if not 0 <= self.label_smoothing <= 1:
            fail("label_smoothing", "between 0 and 1", self.label_smoothing)
        if self.shift < 0:
            fail("shift", "a number of pixels ≥ 0", self.shift)
        if self.network not in {"mlp": ("pi", "mup", "standard"), "cnn": ("pi", "mup")}.get(self.arch, ("pi",)):
            fail("arch", f"one that there is for network {self.network}", self.arch, "leave --network out")
        if self.resume and self.overwrite:
            fail("resume", "without overwrite", "both", "leave one of them out")

    @property
    def directory(self) -> Path:
        """The run's folder."""
        return self.runs_dir / (self.name or f"{self.dataset}-{self.kind}-seed{self.seed}")

    @property
    def kind(self) -> str:
        """The kind of network and its size, for a file's name."""
        arch = "" if self.arch == "mlp" else f"{self.arch}-"
        if self.network != "pi":
            return f"{arch}{self.network}-n{self.width}"
        return f"{arch}{self.features}-r{self.rank}" + (f"-n{self.width}" if self.features == "random" else "")

    @property
    def feature_map(self) -> Features:
        """What ``features`` names."""
        match self.features:
            case "atoms":
                return Atoms()
            case "hermite":
                if self.subspace_high is None:
                    return Hermite(degree=self.degree, subspace=self.subspace)
                higher = dict.fromkeys(range(3, self.degree + 1), self.subspace_high)
                return Hermite(degree=self.degree, subspace={2: self.subspace or self.rank, **higher})
            case "random":
                return RandomFeatures(width=self.width)

    def as_plain(self) -> dict[str, Any]:
        """All that describes the run, as numbers and strings for a file."""
        return run_fields(self)

    def identity(self) -> dict[str, Any]:
        """The part of `as_plain` that decides the numbers of each epoch."""
        decisive = {"epochs"} if self.anneal else set()
        return {name: value for name, value in self.as_plain().items() if name not in FREE_ON_RESUME - decisive}
