"""Accuracy on word analogies by epoch: the figure of Yang & Hu (2021) for Word2Vec."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure

from mupi.figures.axes import finish


@dataclass(frozen=True)
class Word2VecMetrics:
    """Measurements of one epoch of training word vectors.

    Attributes:
        epoch: Counted from 1; 0 is the start.
        positions: Trained on in the epoch: the words that subsampling kept.
        words: Of the text, in the epoch.
        loss: Mean over these positions; None at the start.
        accuracy: The share of analogies answered right, of those whose words are known; None if there are none.
        sections: Right answers and known questions of each section.
        seconds: Of training, without evaluation and saving.
        cpu_seconds: The same of processor time, of all threads.
        stored_mb: MB (10⁶ bytes) of both matrices, as far as coordinates are in use.
        peak_mb: MB by which the process's memory at its peak was above that before the vectors were made.
    """

    epoch: int
    positions: int
    words: int
    loss: float | None
    accuracy: float | None
    sections: dict[str, tuple[int, int]]
    seconds: float
    cpu_seconds: float
    stored_mb: float
    peak_mb: float

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Word2VecMetrics":
        """The inverse of `to_json`."""
        fields = json.loads(line)
        sections = {name: (right, seen) for name, (right, seen) in fields.pop("sections").items()}
        return cls(**fields, sections=sections)


def plot_analogies(runs: Mapping[str, Sequence[Sequence[Word2VecMetrics]]]) -> Figure:
    """Draw accuracy by epoch, one line a width: the mean over seeds, and a band from the lowest to the highest.

    Args:
        runs: For each label, the epochs of each seed; epochs that all seeds have are drawn, where there are analogies.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, (label, seeds) in enumerate(runs.items()):
        epochs = min(len(seed) for seed in seeds)
        x = [m.epoch for m in seeds[0][:epochs]]
        accuracy = 100 * np.array(
            [[np.nan if m.accuracy is None else m.accuracy for m in seed[:epochs]] for seed in seeds]
        )
        if np.isnan(accuracy).all():
            axes.plot([], [], label=f"{label}: no analogy's words are known")
            continue
        axes.plot(x, accuracy.mean(0), color=f"C{i}", marker="o", markersize=3, linewidth=1.4, label=label)
        axes.fill_between(x, accuracy.min(0), accuracy.max(0), color=f"C{i}", alpha=0.2, linewidth=0)
    finish(axes, "Word analogies", "% answered right")
    return figure
