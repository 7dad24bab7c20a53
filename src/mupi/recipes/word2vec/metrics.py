"""What a run of word vectors measures of each epoch."""

import json
from dataclasses import asdict, dataclass


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
