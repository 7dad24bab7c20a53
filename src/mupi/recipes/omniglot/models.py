"""The models of few-shot classification, as the two papers set them up: each has the options that it takes.

[A] is Yang & Hu (2021), table 4 and their code, [B] Yang, Santacroce & Hu (2022) and theirs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from mupi.activations import Activation, Identity, ReLU
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.choices import ByName, Choice
from mupi.commands.options import option
from mupi.features import Atoms, Features, Hermite, RandomFeatures

WHOLE = ("tasks", "inner_steps", "test_steps", "depth", "width", "rank", "subspace", "evaluate_every")
WHOLE += ("validation_episodes",)

Phi = Annotated[Activation, ByName({"relu": ReLU(), "identity": Identity()})]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What every model has."""

    test_steps: int
    """Steps of adaptation in validation and test."""
    step_size: float
    """Size of a step of adaptation."""

    @property
    def phi(self) -> Activation:
        """φ; where it is no option, the ReLU."""
        return getattr(self, "activation", ReLU())

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ValueError: With the option's name.
        """
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if name in WHOLE and value is not None:
                positive_int(option(name), value)
            elif isinstance(value, float | int) and name not in ("batches", "cosine"):
                non_negative(option(name), value)

    def as_plain(self) -> dict[str, Any]:
        """All fields as numbers and strings for a file."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        if "activation" in plain:
            plain["linear"] = plain.pop("activation") == Identity()
        return plain


@dataclass(frozen=True, kw_only=True)
class Trained(Model):
    """What every network has that is meta-trained."""

    batches: int
    """Steps of meta-training."""
    tasks: int
    """Tasks a step."""
    inner_steps: int = 1
    """Steps of adaptation in meta-training."""
    lr: float
    """Learning rate of meta-training, for the sum of the tasks' losses."""
    lr_first: float
    """Multiplier of the first layer's learning rate."""
    clip: float
    """Largest norm of all gradients together."""
    cosine: bool
    """Whether the learning rate falls to 0 along half a cosine; else it stays."""
    bias_scale: float
    """Multiplier of the hidden layers' biases; 0 for none."""
    evaluate_every: int = 500
    """Steps between validations, which also save a checkpoint."""
    validation_episodes: int = 500
    """Tasks of each validation, always the same."""

    def check(self) -> None:
        """See `Model.check`."""
        super().check()
        if self.batches < 0:
            fail("--batches", "≥ 0", self.batches)


@dataclass(frozen=True, kw_only=True)
class Deep(Trained):
    """Of [B]: in a task only the readout learns, by one step."""

    depth: int = 2
    """L, the number of hidden layers."""
    tasks: int = 8
    test_steps: int = 1
    step_size: float = 0.353553
    batches: int = 50_000
    lr: float = 32.0
    lr_first: float = 0.4
    clip: float = 0.1
    cosine: bool = True
    bias_scale: float = 2**0.5


@dataclass(frozen=True, kw_only=True)
class Projected(Deep, ABC):
    """The π-limit or the π-net."""

    rank: int = 400
    """r."""

    @property
    @abstractmethod
    def features(self) -> Features:
        """The feature map."""


@dataclass(frozen=True, kw_only=True)
class PiLimit(Projected):
    """The π-limit with Hermite features."""

    subspace: int | None = 40
    """How many directions degree 2 is kept in; None for all."""

    @property
    def features(self) -> Features:
        """`Hermite` of degree 2."""
        return Hermite(degree=2, subspace=self.subspace)


@dataclass(frozen=True, kw_only=True)
class PiLimitExact(Projected):
    """The exact π-limit with its atoms, whose time and memory grow."""

    @property
    def features(self) -> Features:
        """`Atoms`."""
        return Atoms()


@dataclass(frozen=True, kw_only=True)
class PiNet(Projected):
    """The π-net, of finite width."""

    width: int = 2048
    """n, at least the rank."""
    step_size: float = 0.25
    lr: float = 5.656854
    clip: float = 0.282843
    bias_scale: float = 2.828427

    @property
    def features(self) -> Features:
        """`RandomFeatures`."""
        return RandomFeatures(self.width)

    def check(self) -> None:
        """See `Model.check`."""
        super().check()
        if self.width < self.rank:
            fail("--width", f"at least the rank {self.rank}", self.width)


@dataclass(frozen=True, kw_only=True)
class DeepMuNet(Deep):
    """The μ-net: the π-limit's network at finite width and without projection."""

    # The authors' is in another parametrization. Here the first layer is of the π-limit's size at the start, √(r/d).
    width: int = 2048
    """n."""
    input_std: float = (400 / 784) ** 0.5
    """σ of the first layer's weights."""


@dataclass(frozen=True, kw_only=True)
class Kernel(Model):
    """A fixed kernel, without meta-training."""

    sigma_b: float = 1.0
    """σ_b."""


@dataclass(frozen=True, kw_only=True)
class DeepKernel(Kernel):
    """Of [B]."""

    depth: int = 2
    """L, the number of hidden layers."""
    test_steps: int = 1
    step_size: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DeepNNGP(DeepKernel):
    """The NNGP kernel."""


@dataclass(frozen=True, kw_only=True)
class DeepNTK(DeepKernel):
    """The NTK."""


@dataclass(frozen=True, kw_only=True)
class Shallow(Trained):
    """Of [A]: all weights of a network with one hidden layer learn in a task; first-order MAML."""

    test_steps: int = 20
    step_size: float = 0.4
    batches: int = 10_000
    tasks: int = 32
    lr: float = 0.1
    lr_first: float = 1.0
    clip: float = 0.5
    cosine: bool = False
    input_std: float = 1.0
    """σ_u, of the first layer's weights."""
    readout_std: float = 1 / 32
    """σ_v."""
    bias_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ShallowMuLimit(Shallow):
    """The μ-limit of the linear network."""


@dataclass(frozen=True, kw_only=True)
class ShallowMuNet(Shallow):
    """The μ-net, of finite width, which may be of more layers."""

    depth: int = 1
    """L, the number of hidden layers."""
    width: int = 512
    """n."""
    activation: Phi = Identity()
    """φ."""


@dataclass(frozen=True, kw_only=True)
class ShallowKernel(Kernel):
    """Of [A]."""

    test_steps: int = 20
    step_size: float = 0.4
    activation: Phi = ReLU()
    """φ."""


@dataclass(frozen=True, kw_only=True)
class ShallowNNGP(ShallowKernel):
    """The NNGP kernel."""


@dataclass(frozen=True, kw_only=True)
class ShallowNTK(ShallowKernel):
    """The NTK."""


PROTOCOLS: Mapping[str, Mapping[str, Model]] = {
    "pi": {
        "pi-limit": PiLimit(),
        "pi-limit-exact": PiLimitExact(),
        "pi-net": PiNet(),
        "mu-net": DeepMuNet(),
        "nngp": DeepNNGP(),
        "ntk": DeepNTK(),
    },
    "tp4": {
        "mu-limit": ShallowMuLimit(),
        "mu-net": ShallowMuNet(),
        "nngp": ShallowNNGP(),
        "ntk": ShallowNTK(),
    },
}
"""By the paper, [B] and [A], and the name of the model in it."""

MODELS = Choice(
    PROTOCOLS,
    leading=True,
    was={
        "--paper": "mupi recipe omniglot tp4",
        "--model": "mupi recipe omniglot pi ntk, or tp4 ntk",
        "--linear": "--activation identity, of the models of tp4 that have it",
        "--no-linear": "--activation relu, of the models of tp4 that have it",
    },
)
