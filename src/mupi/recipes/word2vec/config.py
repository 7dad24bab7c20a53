"""What a run of `mupi word2vec` is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.choices import ByName, Choice
from mupi.commands.naming import differences, run_directory
from mupi.commands.options import DataFolder, Name, Seed, WrittenFolder
from mupi.commands.train.plain_fields import run_fields
from mupi.recipes.word2vec import wikifil
from mupi.recipes.word2vec.embedding_start import DenseStart, Gaussian, Orthonormal, Start, UnitVectors
from mupi.recipes.word2vec.text import Normalizer

NORMALIZERS: dict[str, Normalizer | None] = {"none": None, "letters": wikifil.letters, "wikifil": wikifil.wikifil}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
STARTS = Choice(
    {"limit": UnitVectors(), "gaussian": Gaussian, "orthonormal": Orthonormal},
    leading=True,
    was={
        "--width": "gaussian --width 64, with the word in front",
        "--start": "mupi recipe word2vec orthonormal --width 64",
    },
)

# The learning rate falls to zero at the last epoch, so that the number of epochs is not free.
FREE_ON_RESUME = frozenset({"name", "runs_dir", "data_dir", "device", "threads", "save_minutes"})


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig:
    """Train word vectors at a finite width or in the μ-limit (CBOW, negative sampling), and score word analogies.

    The defaults are the protocol of Yang & Hu (2021) for text8.
    """

    text: str = "text8"
    """A text file, plain or as .xz, .gz, .bz2 or .zip; or the name of one in the data directory or its folder `text`.
    text8 is downloaded if it is missing."""
    normalise: Annotated[Normalizer | None, ByName(NORMALIZERS)] = None
    """`wikifil` makes a Wikipedia dump such as enwik9 into words, `letters` any English text; text8 needs `none`."""
    max_words: int | None = None
    """Read only so many words of the text; None for all."""
    min_count: int = 5
    """Words that occur less often are left out."""
    max_vocabulary: int | None = None
    """Keep only so many of the most frequent words; None for all."""

    start: Annotated[Start, STARTS] = UnitVectors()
    """How vectors start, and of what width they are."""
    storage: Annotated[torch.dtype, ByName(DTYPES)] = torch.float32
    """bfloat16, rounded at random, takes half the memory."""

    window: int = 8
    """Largest distance of a context word; each position draws its own from 1 to this."""
    negatives: int = 25
    """Negative samples for each position, by weight."""
    subsampling: float = 1e-4
    """Words of a larger share of the text are left out at random; 0 keeps all."""
    batch_size: int = 64
    """Positions a step; 1, with as many shared negatives as negatives, is SGD position by position."""
    shared_negatives: int = 64
    """Negative samples that the positions of a step share."""
    epochs: int = 15
    """Passes over the text."""
    lr: float = 0.05
    """Learning rate at the start; it falls linearly to zero."""
    weight_decay: float = 0.001
    """Of each row when it is used."""
    seed: Seed = 0
    """Decides the initial vectors, and what is sampled."""

    name: Name = None
    """The run's folder in runs-dir; None for one made of text, width and seed."""
    runs_dir: WrittenFolder = Path("runs")
    """Where runs are kept; texts that were read, as numbers, are in its folder `corpora`."""
    data_dir: DataFolder = None
    """Where the data sets' files are; None for $MUPI_DATA or else the user's cache folder."""
    device: str = "cpu"
    """Where to compute, for example `cuda`."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves it to torch."""
    save_minutes: float = 10.0
    """The run is saved after each epoch, at Ctrl-C, and so often in between."""
    resume: bool = False
    """Go on with the saved run of this name."""
    overwrite: bool = False
    """Replace the saved run of this name."""

    def check(self) -> None:
        """Refuse values that make no sense, as far as the parts of a run do not do so themselves.

        Raises:
            ValueError: With the field's name.
        """
        for field in ("min_count", "window", "negatives", "batch_size", "shared_negatives", "epochs"):
            positive_int(field, getattr(self, field))
        for field in ("max_words", "max_vocabulary", "threads"):
            if getattr(self, field) is not None:
                positive_int(field, getattr(self, field))
        for field in ("subsampling", "lr", "weight_decay", "save_minutes"):
            non_negative(field, getattr(self, field))
        if self.lr * self.weight_decay >= 1:
            fail("weight_decay", "less than 1/lr", self.weight_decay)
        if self.resume and self.overwrite:
            fail("resume", "without overwrite", "both", "leave one of them out")

    @property
    def width(self) -> int | str:
        """n, or `inf`."""
        return self.start.width if isinstance(self.start, DenseStart) else "inf"

    @property
    def directory(self) -> Path:
        """The run's folder."""
        if self.name is not None:
            return self.runs_dir / self.name
        start = "-orthonormal" if isinstance(self.start, Orthonormal) else ""
        stem = f"word2vec-{Path(self.text).name.split('.')[0]}-{self.width}{start}"
        options = differences(self.identity(), Word2VecConfig().identity(), ("text", "width", "start", "seed"))
        return run_directory(self.runs_dir, stem, options, f"-seed{self.seed}", resume=self.resume)

    def as_plain(self) -> dict[str, Any]:
        """All that describes the run, as numbers and strings for a file."""
        # Files have a width and a start of finite widths.
        start = "orthonormal" if isinstance(self.start, Orthonormal) else "gaussian"
        return {**run_fields(self), "width": self.width, "start": start}

    def identity(self) -> dict[str, Any]:
        """The part of `as_plain` that decides the numbers of each epoch."""
        return {name: value for name, value in self.as_plain().items() if name not in FREE_ON_RESUME}
