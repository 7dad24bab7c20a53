"""What a run of word vectors measures of each epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mupi.training.records import Record, columns


@dataclass(frozen=True)
class Word2VecMetrics(Record):
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


def accuracies(runs: Mapping[str, Sequence[Sequence[Word2VecMetrics]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each label the epochs that all seeds have, and the accuracies (seeds, epochs) after them."""
    found = {}
    for label, seeds in runs.items():
        epochs = min(map(len, seeds))
        some = [columns(seed[:epochs]) for seed in seeds]
        found[label] = some[0]["epoch"], np.stack([seed["accuracy"] for seed in some])
    return found
