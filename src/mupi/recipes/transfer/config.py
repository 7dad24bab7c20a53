"""What `mupi transfer` takes: its three commands, and how features are evaluated in all of them."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.choices import Choice
from mupi.commands.options import DataFolder, Folder, Name, Only, Seed, option
from mupi.commands.train.architectures import of_kind, with_features
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import ArchName, plain_network
from mupi.commands.train.presets import PRESETS
from mupi.data import DatasetName
from mupi.recipes.transfer.parts import (
    BASELINES,
    CHOSEN_BASELINES,
    CHOSEN_PARTS,
    PARTS,
    Baseline,
    Part,
    PartName,
)

Model = Literal["pi-limit", "pi-net", "mu-net"]

TARGETS: dict[DatasetName, DatasetName] = {
    "digits": "digits",
    "cifar10": "cifar10",
    "imagenet32": "cifar10",
    "omniglot-background": "omniglot-evaluation",
    "omniglot-evaluation": "omniglot-background",
}
"""Where features learned on a data set are tried, if nothing else is asked for."""


def pretraining_protocol(model: Model, dataset: DatasetName, arch: ArchName = "mlp") -> TrainConfig:
    """How a model is pretrained on a data set by default."""
    presets = PRESETS[dataset]
    perceptron = {"pi-limit": presets.pi_limit, "pi-net": presets.pi_net, "mu-net": presets.mu_net}[model]
    if arch == "mlp":
        return perceptron
    # Photographs of one size are trained on alike, and all models at the rates of the π-limit.
    like = "cifar10" if dataset == "imagenet32" else dataset
    names = plain_network(perceptron.network)
    config = of_kind(replace(presets.pi_limit, dataset=like), names["network"], arch)
    if "features" in names:
        config = with_features(config, names["features"])
    return replace(config, dataset=dataset)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Train a network and keep it after every epoch, the untrained one included, for `mupi transfer evaluate`.

    All other options are those of `mupi train`, with the defaults that model and dataset decide; so is the directory
    that is written.
    """

    model: Model = "pi-limit"
    """Whose protocol the defaults are."""
    training: Annotated[TrainConfig, arg(name="")]
    """The network, its data and its training."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How features are evaluated on the data set that they are transferred to."""

    target: DatasetName | None = None
    """The data set that the features are used on; None for cifar10 after imagenet32 and cifar10, and
    omniglot-evaluation after omniglot-background."""
    classes: int | None = None
    """Keep this many of its classes, drawn at random; None for all."""
    train_size: int | None = None
    """Fit this many of its training images; None for all."""
    validation: int | None = None
    """Test on this many of its training images, held out, in place of the test images; None for none."""
    data_seed: Seed = 0
    """Draws classes and images, of target."""
    epochs: tuple[int, ...] | None = None
    """After which epochs of the pretraining; the untrained network, epoch 0, is always evaluated. None for all."""
    parts: Annotated[tuple[Part, ...], CHOSEN_PARTS] = tuple(PARTS.values())
    """kernel: regression with E φ(h)φ(h') of the last hidden layer. probe: logistic regression on the last hidden
    layer's g (μ-net: φ(h)). Of networks with positions both are averages over them. readout: a new readout trained by
    SGD on the frozen last hidden layer, or the trained one trained further where the classes are the same."""
    baselines: Annotated[tuple[Baseline, ...], CHOSEN_BASELINES] = tuple(BASELINES.values())
    """Kernels of untrained infinite perceptrons of the same depth; `unit`: of inputs scaled to norm 1."""
    fit_size: int = 10_000
    """Training images that ridge, penalty and rate are tried on; at most two thirds of all."""
    validation_size: int = 5_000
    """Training images that they are chosen by; at most one third of all. No test image takes part."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    name: Name = None
    """The folder of the results in that of each run; None for one made of target and sizes."""
    out: Annotated[Path | None, Folder(written=True)] = None
    """Where table and figure are written; None for `runs/transfer-NAME`."""
    overwrite: bool = False
    """Compute everything anew."""

    def check(self) -> None:
        """Refuse values that make no sense, as far as data and regressions do not do so themselves.

        Raises:
            ValueError: With the option's name.
        """
        for field in ("fit_size", "validation_size"):
            positive_int(option(field), getattr(self, field))
        for field in ("threads", "classes", "train_size", "validation"):
            if getattr(self, field) is not None:
                positive_int(option(field), getattr(self, field))
        if not self.parts:
            fail("--parts", "at least one of " + " ".join(PARTS), "none")
        for used in (*self.parts, *self.baselines):
            used.check()
        if self.epochs is not None and any(epoch < 0 for epoch in self.epochs):
            fail("--epochs", "numbers ≥ 0", min(self.epochs))

    def folder(self, target: DatasetName) -> str:
        """The name of the results."""
        sizes = {"": self.train_size, "classes": self.classes, "validation": self.validation}
        parts = [f"{label}{size}" for label, size in sizes.items() if size is not None]
        return self.name or "-".join([target, *parts])

    def data(self) -> dict[str, Any]:
        """What decides the images, but for the data set's name."""
        names = ("classes", "train_size", "validation", "data_seed")
        return {name: getattr(self, name) for name in names}

    def settings(self, used: Part | Baseline) -> dict[str, Any]:
        """What decides the result of a part or baseline, but for the data."""
        return {"fit_size": self.fit_size, "validation_size": self.validation_size, **asdict(used)}

    @property
    def part_names(self) -> tuple[PartName, ...]:
        """What files and tables call the parts."""
        return tuple(CHOSEN_PARTS.name(part) for part in self.parts)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Use the features of pretrained networks on another data set, after every epoch that was kept.

    Results are kept in each run's directory: what is there is not computed again, so that the same command goes on
    after an interruption, and runs that were evaluated one by one are compared at no cost.
    """

    runs: Positional[tuple[Path, ...]]
    """The directories that `mupi transfer pretrain` has written; those that differ in the seed only are one model."""
    evaluation: Annotated[EvaluationConfig, arg(name="")]
    """How."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network to pretrain by its protocol; None stands for what that says."""

    def check(self) -> None:
        """Refuse values that make no sense, by the option's name."""
        for one in fields(self):
            if getattr(self, one.name) is not None:
                positive_int(option(one.name), getattr(self, one.name))


@dataclass(frozen=True, kw_only=True)
class PiLimit(Pretrained):
    """The π-limit with Hermite features."""

    rank: int | None = None
    """r of π-limit and π-net; None for the protocols'."""
    subspace: int | None = None
    """π-limit: keep degree 2 in this many directions; None for the protocol's."""


@dataclass(frozen=True, kw_only=True)
class PiLimitExact(Pretrained):
    """The π-limit with its atoms, whose time and memory grow."""

    rank: int | None = None
    """r of π-limit and π-net; None for the protocols'."""


@dataclass(frozen=True, kw_only=True)
class PiNet(Pretrained):
    """A finite π-net."""

    rank: int | None = None
    """r of π-limit and π-net; None for the protocols'."""
    width: int | None = None
    """Of π-net and μ-net; None for the protocols'."""


@dataclass(frozen=True, kw_only=True)
class MuNet(Pretrained):
    """A finite network in μP."""

    width: int | None = None
    """Of π-net and μ-net; None for the protocols'."""


PRETRAINED = Choice(
    {"pi-limit": PiLimit(), "pi-limit-exact": PiLimitExact(), "pi-net": PiNet(), "mu-net": MuNet()},
    several=True,
    was={"--exact": "--models pi-limit-exact"},
)


@dataclass(frozen=True, kw_only=True)
class BothConfig:
    """Pretrain several models with several seeds by their protocols, and evaluate them.

    What has been computed is kept: the same command after an interruption goes on from there. For other options of the
    pretraining use `mupi transfer pretrain`.
    """

    models: Annotated[tuple[Pretrained, ...], PRETRAINED] = (PiLimit(), PiNet(), MuNet())
    """Which to pretrain."""
    arch: ArchName = "mlp"
    """Their architecture; of resnet and transformer there is no mu-net."""
    seeds: int = 2
    """Networks of each."""
    dataset: DatasetName = "imagenet32"
    """What to pretrain on."""
    pretrain_classes: int | Literal["all"] | None = None
    """Of its classes keep so many, the same for all models and seeds; None for as many as the protocols."""
    pretrain_files: Annotated[int | None, Only(dataset=("imagenet32",))] = None
    """imagenet32: read this many of the ten training files; None for all."""
    pretrain_size: int | None = None
    """Train on a random subset of this many images, the same for all; None for all."""
    pretrain_epochs: int | None = None
    """Passes over the images; None for the protocols'."""
    pretrain_lr: float | None = None
    """Learning rate of all models; None for the protocols'."""
    evaluation: Annotated[EvaluationConfig, arg(name="")]
    """How features are evaluated; device, threads and directories are those of the pretraining too."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ValueError: With the option's name.
        """
        positive_int("--seeds", self.seeds)
        for field in ("pretrain_files", "pretrain_size", "pretrain_epochs"):
            if getattr(self, field) is not None:
                positive_int(option(field), getattr(self, field))
        if not self.models:
            fail("--models", "at least one of " + " ".join(PRETRAINED.words), "none")
        for model in self.models:
            model.check()
        if isinstance(self.pretrain_classes, int):
            positive_int("--pretrain-classes", self.pretrain_classes)
        if self.pretrain_lr is not None:
            non_negative("--pretrain-lr", self.pretrain_lr)
        self.evaluation.check()
