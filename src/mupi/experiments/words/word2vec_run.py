"""The files of a run of `mupi word2vec`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mupi.data.word_vectors import WordVectors
from mupi.experiments.training.checkpoint import load_checkpoint, refuse_if_present, save_checkpoint
from mupi.experiments.training.run import CHECKPOINT, CONFIG, METRICS
from mupi.experiments.words.word2vec_config import Word2VecConfig
from mupi.figures.word2vec import Word2VecMetrics, read_word2vec_metrics

VECTORS = "vectors.bin"


@dataclass(frozen=True)
class Word2VecRun:
    """``config.json``, ``metrics.jsonl``, ``checkpoint.pt`` and, at the end, ``vectors.bin``.

    Args:
        config: The configuration, which names the directory.
    """

    config: Word2VecConfig

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self.config.directory

    @property
    def checkpoint(self) -> Path:
        """All that later steps depend on."""
        return self.directory / CHECKPOINT

    def refuse_if_present(self) -> None:
        """Keep a saved run from being replaced by mistake.

        Raises:
            ValueError: If there is a run in the directory.
        """
        refuse_if_present(self.directory, self.directory / CONFIG)

    def start(self) -> None:
        """Make the directory hold a new run, and nothing of an old one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (CHECKPOINT, METRICS, VECTORS, "accuracy.png"):
            (self.directory / name).unlink(missing_ok=True)
        self._write_config()
        (self.directory / METRICS).touch()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole."""
        save_checkpoint(self.checkpoint, self.config.identity(), state)

    def load(self) -> dict[str, Any]:
        """Read the state to go on from, and drop the epochs that ``metrics.jsonl`` may hold beyond it.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it is damaged, or of another configuration.
        """
        state = load_checkpoint(self.checkpoint, self.config.identity(), mapped=True)
        known = [m for m in self.metrics() if m.epoch <= state["epoch"]]
        (self.directory / METRICS).write_text("".join(m.to_json() + "\n" for m in known))
        self._write_config()
        return state

    def append(self, metrics: Word2VecMetrics) -> None:
        """Add an epoch to ``metrics.jsonl``."""
        with (self.directory / METRICS).open("a") as file:
            file.write(metrics.to_json() + "\n")

    def metrics(self) -> list[Word2VecMetrics]:
        """All epochs so far, the start first."""
        return read_word2vec_metrics(self.directory / METRICS)

    def save_vectors(self, vectors: WordVectors) -> Path:
        """Write ``vectors.bin``, in word2vec's binary format."""
        path = self.directory / VECTORS
        vectors.save(path, binary=True)
        return path

    def _write_config(self) -> None:
        (self.directory / CONFIG).write_text(json.dumps(self.config.as_plain(), indent=2) + "\n")
