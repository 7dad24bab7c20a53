"""What a few-shot experiment is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from mupi.checks import fail, positive_int
from mupi.commands.choices import walk
from mupi.commands.naming import differences, run_directory
from mupi.commands.options import DataFolder, Name, Within, WrittenFolder, option
from mupi.commands.train.plain_fields import run_fields
from mupi.recipes.omniglot.models import MODELS, Model, PiLimit

# What to do with a saved run, and where: no property of its numbers.
NOT_OF_THE_NUMBERS = frozenset({
    "seeds", "name", "runs_dir", "data_dir", "threads", "resume", "overwrite",
    "evaluate_every", "validation_episodes", "test_episodes", "test_steps",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig:
    """Few-shot classification of Omniglot's characters, as in one of the papers, and by one of their models."""

    model: Annotated[Model, MODELS] = PiLimit()
    """`pi`: Yang, Santacroce & Hu (2022), in a task only the readout learns, by one step. `tp4`: Yang & Hu (2021),
    all weights of networks with one hidden layer learn in a task; first-order MAML."""

    ways: int = 5
    """Classes of a task."""
    shots: int = 1
    """Drawings of each class to learn from."""
    queries: int = 1
    """Drawings of each class to test on."""

    seeds: Annotated[tuple[int, ...], Within(0, 2**63 - 1)] = (0,)
    """One run each; decides the initial network and the tasks, those of the test too."""
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

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ValueError: With the option's name.
        """
        for name in ("test_episodes", "ways", "shots", "queries", "threads"):
            if getattr(self, name) is not None:
                positive_int(option(name), getattr(self, name))
        if self.ways < 2:
            fail("--ways", "at least 2", self.ways)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            fail("--seeds", "one or more different numbers", self.seeds)
        if self.resume and self.overwrite:
            fail("--resume", "without --overwrite", "both", "leave one of them out")
        self.model.check()

    @property
    def paper(self) -> str:
        """Whose protocol it is."""
        return MODELS.path(self.model)[0]

    def changed(self, **changes: Any) -> "OmniglotConfig":
        """With other values, of this configuration's own fields or of its model's."""
        model = changes.pop("model", self.model)
        names = {one.name for one in fields(model)}
        inner = {name: changes.pop(name) for name in list(changes) if name in names}
        return replace(self, model=replace(model, **inner), **changes)

    def directory(self, seed: int) -> Path:
        """A run's folder."""
        if self.name is not None:
            return self.runs_dir / f"{self.name}-seed{seed}"
        words = MODELS.path(self.model)
        default = OmniglotConfig(model=MODELS.value(words)).identity()
        options = differences(self.identity(), default, ("paper", "model"))
        return run_directory(self.runs_dir, "-".join(["omniglot", *words]), options, f"-seed{seed}", resume=self.resume)

    def as_plain(self) -> dict[str, Any]:
        """All that describes the runs, as numbers and strings for a file."""
        paper, model = MODELS.path(self.model)
        own = {name: value for name, value in run_fields(self).items() if name != "model"}
        return {"paper": paper, "model": model, **own, **self.model.as_plain()}

    def identity(self) -> dict[str, Any]:
        """The fields that decide the numbers of each step of meta-training."""
        return {k: v for k, v in self.as_plain().items() if k not in NOT_OF_THE_NUMBERS}


def current(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote of a run, which named the options of all models, without those of the others.

    Raises:
        KeyError: If it is of no model.
    """
    known = OmniglotConfig(model=MODELS.value((saved["paper"], saved["model"]))).as_plain()
    every = {name for _, model in walk(MODELS.words) for name in model.as_plain()}
    return {name: value for name, value in saved.items() if name in known or name not in every}
