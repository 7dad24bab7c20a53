"""The parts of `mupi cifar10`, as the runs that they are made of: each has the options that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from mupi.checks import fail, positive_int
from mupi.commands.choices import Choice
from mupi.commands.options import DataFolder, NotAbove, WrittenFolder, option
from mupi.commands.train.activation_names import ACTIVATIONS
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import by_degree, width_of
from mupi.commands.train.presets import CIFAR10, CIFAR10_PRESETS
from mupi.features import Atoms, Hermite


def check_counts(config: Any) -> None:
    """Refuse counts below 1, by the option's name."""
    for name in (one.name for one in fields(config)):
        value = getattr(config, name)
        for count in value if isinstance(value, tuple) else (value,):
            if isinstance(count, int):
                positive_int(option(name), count)


@dataclass(frozen=True, kw_only=True)
class AnyPart:
    """What a part has."""

    def __post_init__(self):
        check_counts(self)


@dataclass(frozen=True, kw_only=True)
class Truncated(AnyPart):
    """With degree 2 in some directions."""

    subspace: int | None = 100
    """Directions that degree 2 is kept in; None for all."""


@dataclass(frozen=True, kw_only=True)
class Long(Truncated):
    """Of many epochs."""

    epochs: int = 40
    """Passes over the images in relu, quadratic, augmented and kernel; learning rate and clipping norm drop after four
    fifths, and in the last eighth of the quadratic ones the rate falls to 0."""


@dataclass(frozen=True, kw_only=True)
class Repeated(Long):
    """With several seeds."""

    seeds: int = 3
    """Seeds of relu, quadratic and augmented; the other parts have one."""


@dataclass(frozen=True, kw_only=True)
class Relu(Repeated):
    """The paper's network: the reproduction."""


@dataclass(frozen=True, kw_only=True)
class Quadratic(Repeated):
    """The kernel q/4 + q²/4, of which degree 2 is all: the step beyond it."""


@dataclass(frozen=True, kw_only=True)
class Augmented(Repeated):
    """The same with mirrored, and with mirrored and shifted images."""


@dataclass(frozen=True, kw_only=True)
class Speed(Truncated):
    """An epoch of the π-limit and of the μ-net, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Truncation(AnyPart):
    """ReLU by number of directions, and with higher degrees in a few."""

    short_epochs: int = 10
    """Passes over the images in truncation."""


@dataclass(frozen=True, kw_only=True)
class Exact(Truncated):
    """ReLU beside Atoms, on some of the images."""

    exact_images: int = 20_000
    """Images in exact, whose time grows with their square."""
    exact_epochs: int = 5
    """Passes over them."""


@dataclass(frozen=True, kw_only=True)
class Kernel(Long):
    """Regression with the feature kernel that the quadratic network has learned."""

    kernel_epochs: Annotated[tuple[int, ...], NotAbove("epochs")] = (1, 10, 40)
    """After which epochs the feature kernel is taken."""
    kernel_images: int | None = 10_000
    """Training images that a regression takes; None for all, twenty minutes of a core for each epoch."""


Part = Relu | Quadratic | Augmented | Speed | Truncation | Exact | Kernel

PARTS: Mapping[str, Any] = {
    "relu": Relu(),
    "quadratic": Quadratic(),
    "augmented": Augmented(),
    "speed": Speed(),
    "truncation": Truncation(),
    "exact": Exact(),
    "kernel": Kernel(),
}

CHOSEN = Choice(PARTS, several=True)


@dataclass(frozen=True, kw_only=True)
class Cifar10Config:
    """Train the π-limit at the paper's rank on all of CIFAR-10, and measure what the truncation costs.

    Every part has a folder of its own. What has been computed is kept: the same command after an interruption goes
    on from there.
    """

    parts: Annotated[tuple[Part, ...], CHOSEN] = tuple(PARTS.values())
    """relu: the paper's network. quadratic: the kernel q/4 + q²/4, of which degree 2 is all. augmented: the same with
    mirrored, and with mirrored and shifted images. speed: an epoch of the π-limit and of the μ-net. truncation: ReLU by
    number of directions, and with higher degrees in a few. exact: the same beside Atoms, on some of the images. kernel:
    regression with the feature kernel that the quadratic network has learned."""
    rank: int = 400
    """r."""
    batch_size: int | None = None
    """Images a step; None for 16 with the quadratic kernel, for which held-out images chose it, and 32 with ReLU."""
    train_size: int | None = None
    """Train on a random subset of this many images, the same for all; None for all."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    out: WrittenFolder = Path("runs/cifar10")
    """Where each part has its folder."""

    def __post_init__(self):
        check_counts(self)
        if not self.parts:
            fail("--parts", "at least one of " + " ".join(PARTS), "none")

    def adapted(self, preset: TrainConfig, epochs: int, **changes: Any) -> TrainConfig:
        """A preset with the data and the machine of this command, for so many epochs."""
        start = preset.changed(
            batch_size=self.batch_size or 32,
            train_size=self.train_size,
            data_seed=0,
            epochs=epochs,
            drop_epoch=max(1, round(0.8 * epochs)),
            threads=self.threads,
            device=self.device,
            data_dir=self.data_dir,
        )
        return start.changed(**changes)

    def relu(self, epochs: int, subspace: int | None, **changes: Any) -> TrainConfig:
        """The paper's network; the larger batch wants another weight decay."""
        own = {"rank": self.rank, "features": Hermite(2, subspace=subspace), "weight_decay": 6e-5}
        return self.adapted(CIFAR10, epochs, **own | changes)

    def quadratic(self, part: Long, **changes: Any) -> TrainConfig:
        """The network with kernel |b||g|(q/4 + q²/4), with its own rates."""
        best = dict(
            batch_size=self.batch_size or 16,
            weight_decay=1e-4,
            label_smoothing=0.1,
            output_scale=1.0,
            bias_scale=1.0,
            anneal=part.epochs // 8,
        )
        return self.relu(part.epochs, part.subspace, **{"activation": ACTIVATIONS["quadratic"], **best, **changes})


def runs(config: Cifar10Config, part: Part) -> dict[str, TrainConfig]:
    """What a part trains, by what tables call it."""
    match part:
        case Relu(epochs=epochs, subspace=subspace):
            return {"ReLU": config.relu(epochs, subspace)}
        case Quadratic() | Kernel():
            return {"q/4 + q²/4": config.quadratic(part)}
        case Augmented():
            return {
                "mirrored": config.quadratic(part, flip=True),
                "mirrored and shifted": config.quadratic(part, flip=True, shift=2, weight_decay=5e-5),
            }
        case Speed(subspace=subspace):
            μ_net = config.adapted(CIFAR10_PRESETS.mu_net, 1)
            return {"π-limit": config.relu(1, subspace), f"μ-net, n = {width_of(μ_net.network)}": μ_net}
        case Truncation(short_epochs=epochs):
            few = {f"degree 2 in {p}": config.relu(epochs, p) for p in (40, 100, 200)}
            high = config.relu(epochs, None, features=Hermite(4, subspace=by_degree(4, 100, 20)))
            return few | {"degree 2 in 100, 4 in 20": high}
        case Exact(subspace=subspace):
            images = min(part.exact_images, config.train_size or part.exact_images)
            run = config.relu(part.exact_epochs, subspace, train_size=images)
            return {
                "Atoms": run.changed(features=Atoms()),
                f"degree 2 in {subspace or config.rank}": run,
                "degree 2 in full": run.changed(features=Hermite(2)),
            }
