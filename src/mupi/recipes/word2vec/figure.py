"""`mupi word2vec-figure`: accuracy by epoch at several widths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from mupi.checks import fail
from mupi.commands.options import File
from mupi.recipes.word2vec.metrics import Word2VecMetrics, accuracies
from mupi.recipes.word2vec.plots import plot_analogies
from mupi.recipes.word2vec.run import WRITER
from mupi.training.atomic import write_figure
from mupi.training.damaged import understood
from mupi.training.records import read_records
from mupi.training.run_folder import CONFIG, METRICS
from mupi.training.sealed import read_sealed


@dataclass(frozen=True)
class Word2VecFigureConfig:
    """Plot the accuracy of runs of `mupi word2vec`, one line a width, with a band over the seeds."""

    runs: Positional[tuple[Path, ...]]
    """The runs' directories."""
    out: Annotated[Path, File(figure=True)] = Path("runs/figures/word2vec.png")
    """Where to write the figure."""


def word2vec_figure(config: Word2VecFigureConfig) -> Path:
    """Write the figure, and say where.

    Returns:
        The file.

    Raises:
        ValueError: If no directory is named.
        FileNotFoundError: If one is no run.
    """
    if not config.runs:
        fail("word2vec-figure", "given the directories of runs", "none", "try `mupi word2vec-figure runs/word2vec-*`")
    advice = f"name other directories that `{WRITER}` has written"
    runs: dict[str, list[list[Word2VecMetrics]]] = {}
    for run in config.runs:
        metrics = read_records(run / METRICS, Word2VecMetrics, WRITER, advice)
        with understood(run / CONFIG, advice):
            settings = read_sealed(run / CONFIG, advice)
            start = "" if settings["start"] == "gaussian" else f", {settings['start']}"
            width = "∞" if settings["width"] == "inf" else settings["width"]
        runs.setdefault(f"width {width}{start}", []).append(metrics)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_figure(config.out, plot_analogies(accuracies(runs)))
    print(f"wrote {config.out}")
    return config.out
