"""`mupi word2vec-figure`: accuracy by epoch at several widths."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from mupi.checks import fail
from mupi.experiments.options import File
from mupi.experiments.training.run import CONFIG, METRICS
from mupi.figures.word2vec import Word2VecMetrics, plot_analogies, read_word2vec_metrics


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
    runs: dict[str, list[list[Word2VecMetrics]]] = {}
    for run in config.runs:
        metrics = read_word2vec_metrics(run / METRICS)
        settings = json.loads((run / CONFIG).read_text())
        start = "" if settings["start"] == "gaussian" else f", {settings['start']}"
        width = "∞" if settings["width"] == "inf" else settings["width"]
        runs.setdefault(f"width {width}{start}", []).append(metrics)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    plot_analogies(runs).savefig(config.out, dpi=150)
    print(f"wrote {config.out}")
    return config.out
