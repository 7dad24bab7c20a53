"""What a few-shot experiment is made of, and the two papers' protocols to start from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.naming import differences, run_directory
from mupi.commands.options import DataFolder, Name, Only, Within, WrittenFolder, option
from mupi.commands.train.plain_fields import plain_fields

Paper = Literal["pi", "tp4"]
Model = Literal["pi-limit", "pi-limit-exact", "pi-net", "mu-net", "mu-limit", "nngp", "ntk"]

TRAINED = Only(model=("pi-limit", "pi-limit-exact", "pi-net", "mu-net", "mu-limit"))
PROJECTED = Only(model=("pi-limit", "pi-limit-exact", "pi-net"))

# What to do with a saved run, and where: no property of its numbers.
NOT_OF_THE_NUMBERS = frozenset({
    "seeds", "name", "runs_dir", "data_dir", "threads", "resume", "overwrite",
    "evaluate_every", "validation_episodes", "test_episodes", "test_steps",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig:
    """Few-shot classification of Omniglot's characters, as in one of the papers, and by one of their models.

    Values left out are those of the paper for the model; see `PROTOCOLS`.
    """

    paper: Paper = "pi"
    """`pi`: Yang, Santacroce & Hu (2022), in a task only the readout learns, by one step. `tp4`: Yang & Hu (2021),
    all weights of networks with one hidden layer learn in a task; first-order MAML."""
    model: Model = "pi-limit"
    """Of `pi`: pi-limit (Hermite features), pi-limit-exact (atoms), pi-net, mu-net, nngp, ntk. Of `tp4`: mu-limit
    (linear), mu-net, nngp, ntk."""
    linear: Annotated[bool | None, Only(paper=("tp4",), model=("mu-net", "nngp", "ntk"))] = None
    """tp4: φ = id instead of ReLU; mu-limit is always linear, and mu-net is by default."""

    ways: int = 5
    """Classes of a task."""
    shots: int = 1
    """Drawings of each class to learn from."""
    queries: int = 1
    """Drawings of each class to test on."""

    batches: Annotated[int | None, TRAINED] = None
    """Steps of meta-training; a model without training has none."""
    tasks: Annotated[int | None, TRAINED] = None
    """Tasks a step."""
    inner_steps: Annotated[int | None, TRAINED] = None
    """Steps of adaptation in meta-training."""
    test_steps: int | None = None
    """Steps of adaptation in validation and test."""
    step_size: float | None = None
    """Size of a step of adaptation."""
    lr: Annotated[float | None, TRAINED] = None
    """Learning rate of meta-training, for the sum of the tasks' losses."""
    lr_first: Annotated[float | None, TRAINED] = None
    """Multiplier of the first layer's learning rate."""
    clip: Annotated[float | None, TRAINED] = None
    """Largest norm of all gradients together."""
    cosine: Annotated[bool | None, TRAINED] = None
    """Whether the learning rate falls to 0 along half a cosine; else it stays."""

    depth: int | None = None
    """L, the number of hidden layers."""
    width: Annotated[int | None, Only(model=("mu-net", "pi-net"))] = None
    """mu-net, pi-net: n."""
    rank: Annotated[int, PROJECTED] = 400
    """pi: r."""
    subspace: Annotated[int | None, Only(model=("pi-limit",))] = 40
    """pi-limit: how many directions degree 2 is kept in; None for all."""
    input_std: Annotated[float | None, Only(model=("mu-net", "mu-limit"))] = None
    """mu-net: σ of the first layer's weights; mu-limit: σ_u."""
    readout_std: Annotated[float | None, Only(paper=("tp4",), model=("mu-net", "mu-limit"))] = None
    """tp4, mu-net and mu-limit: σ_v."""
    sigma_b: Annotated[float | None, Only(model=("nngp", "ntk"))] = None
    """nngp, ntk: σ_b."""
    bias_scale: Annotated[float | None, TRAINED] = None
    """Multiplier of the hidden layers' biases; 0 for none."""

    seeds: Annotated[tuple[int, ...], Within(0, 2**63 - 1)] = (0,)
    """One run each; decides the initial network and the tasks, those of the test too."""
    evaluate_every: Annotated[int, TRAINED] = 500
    """Steps between validations, which also save a checkpoint."""
    validation_episodes: Annotated[int, TRAINED] = 500
    """Tasks of each validation, always the same."""
    test_episodes: int = 2000
    """Tasks of the test at the end."""

    name: Name = None
    """The runs' folder in runs-dir, `-seedN` is appended; None for one made of paper and model."""
    runs_dir: WrittenFolder = Path("runs")
    """Where runs are kept."""
    data_dir: DataFolder = None
    """Where the archives are, in the folder `omniglot`; None for $MUPI_DATA or else the user's cache folder."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    resume: bool = False
    """Go on with the saved runs of this name, as far as they exist."""
    overwrite: bool = False
    """Replace the saved runs of this name."""

    def settled(self) -> "OmniglotConfig":
        """With the paper's values for all that was left out, checked.

        Raises:
            ValueError: If the paper has no such model, or a value makes no sense.
        """
        protocols = PROTOCOLS[self.paper]
        if self.model not in protocols:
            fail("--model", f"one of {', '.join(protocols)} with --paper {self.paper}", self.model)
        defaults = {k: v for k, v in protocols[self.model].items() if getattr(self, k) is None}
        config = replace(self, **defaults)
        config._check()
        return config

    def _check(self) -> None:
        whole = ("tasks", "inner_steps", "test_steps", "depth", "width", "rank", "evaluate_every", "test_episodes")
        for field in (*whole, "ways", "shots", "queries", "validation_episodes", "subspace", "threads"):
            if getattr(self, field) is not None:
                positive_int(option(field), getattr(self, field))
        for field in ("step_size", "lr", "lr_first", "input_std", "readout_std", "sigma_b", "bias_scale", "clip"):
            if getattr(self, field) is not None:
                non_negative(option(field), getattr(self, field))
        if self.batches is not None and self.batches < 0:
            fail("--batches", "≥ 0", self.batches)
        if self.ways < 2:
            fail("--ways", "at least 2", self.ways)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            fail("--seeds", "one or more different numbers", self.seeds)
        if self.model == "pi-net" and self.width is not None and self.width < self.rank:
            fail("--width", f"at least the rank {self.rank}", self.width)
        if self.resume and self.overwrite:
            fail("--resume", "without --overwrite", "both", "leave one of them out")

    def directory(self, seed: int) -> Path:
        """A run's folder."""
        if self.name is not None:
            return self.runs_dir / f"{self.name}-seed{seed}"
        default = OmniglotConfig(paper=self.paper, model=self.model).settled().identity()
        options = differences(self.identity(), default, ("paper", "model"))
        stem = f"omniglot-{self.paper}-{self.model}"
        return run_directory(self.runs_dir, stem, options, f"-seed{seed}", resume=self.resume)

    def as_plain(self) -> dict[str, Any]:
        """All fields as numbers and strings for a file."""
        return plain_fields(self)

    def identity(self) -> dict[str, Any]:
        """The fields that decide the numbers of each step of meta-training."""
        return {k: v for k, v in self.as_plain().items() if k not in NOT_OF_THE_NUMBERS}


PI: dict[str, Any] = dict(
    depth=2, tasks=8, inner_steps=1, test_steps=1, batches=50_000, lr_first=0.4, cosine=True, linear=False
)
PI_LIMIT: dict[str, Any] = dict(**PI, step_size=0.353553, lr=32.0, clip=0.1, bias_scale=2**0.5)
KERNEL: dict[str, Any] = dict(batches=0, tasks=8, inner_steps=1, sigma_b=1.0, linear=False)
TP4: dict[str, Any] = dict(
    depth=1, tasks=32, inner_steps=1, test_steps=20, step_size=0.4, batches=10_000, lr=0.1, lr_first=1.0, clip=0.5,
    cosine=False, linear=True, input_std=1.0, readout_std=1 / 32, bias_scale=1.0,
)  # fmt: skip

PROTOCOLS: dict[Paper, dict[Model, dict[str, Any]]] = {
    "pi": {
        "pi-limit": PI_LIMIT,
        "pi-limit-exact": PI_LIMIT,
        "pi-net": dict(**PI, step_size=0.25, lr=5.656854, clip=0.282843, bias_scale=2.828427, width=2048),
        # The authors' μ-net is in another parametrization. This one is the π-limit's network without projection, its
        # first layer of the same size at the start, √(r/d).
        "mu-net": PI_LIMIT | dict(width=2048, input_std=(400 / 784) ** 0.5),
        "nngp": KERNEL | dict(depth=2, test_steps=1, step_size=0.5),
        "ntk": KERNEL | dict(depth=2, test_steps=1, step_size=0.5),
    },
    "tp4": {
        "mu-limit": TP4,
        "mu-net": TP4 | dict(width=512),
        "nngp": KERNEL | dict(depth=1, test_steps=20, step_size=0.4),
        "ntk": KERNEL | dict(depth=1, test_steps=20, step_size=0.4, input_std=1.0, readout_std=1.0),
    },
}
"""Settings of [A] Yang & Hu (2021), table 4 and their code, and of [B] Yang, Santacroce & Hu (2022) and theirs."""
