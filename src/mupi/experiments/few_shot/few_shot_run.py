"""The directory of a few-shot run: configuration, metrics, a checkpoint to go on from, and the test's result."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mupi.experiments.few_shot.omniglot_config import OmniglotConfig
from mupi.experiments.training.checkpoint import load_checkpoint, refuse_if_present, save_checkpoint
from mupi.figures.few_shot import Accuracy, Progress, read_progress

KERNELS = "kernels.pt"


@dataclass(frozen=True)
class FewShotRun:
    """The files ``config.json``, ``metrics.jsonl``, ``checkpoint.pt``, ``kernels.pt``, ``result.json`` of one seed.

    Args:
        config: Settled.
        seed: One of its seeds.
    """

    config: OmniglotConfig
    seed: int

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self.config.directory(self.seed)

    @property
    def checkpoint_path(self) -> Path:
        """Everything that the next step depends on."""
        return self.directory / "checkpoint.pt"

    @property
    def metrics_path(self) -> Path:
        """One line a validation."""
        return self.directory / "metrics.jsonl"

    @property
    def kernels_path(self) -> Path:
        """The kernels that ``classes.png`` shows."""
        return self.directory / KERNELS

    @property
    def result_path(self) -> Path:
        """The test."""
        return self.directory / "result.json"

    def refuse_if_present(self) -> None:
        """Keep a saved run from being replaced by mistake.

        Raises:
            ValueError: If there is a run in the directory.
        """
        refuse_if_present(self.directory, self.directory / "config.json")

    def start(self) -> None:
        """Make the directory hold a new run, and nothing of an old one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in (self.checkpoint_path, self.result_path, self.kernels_path, *self.directory.glob("*.png")):
            old.unlink(missing_ok=True)
        self.metrics_path.write_text("")
        self.write_config()

    def write_config(self) -> None:
        """Write ``config.json``."""
        plain = self.config.as_plain() | {"seed": self.seed}
        (self.directory / "config.json").write_text(json.dumps(plain, indent=2) + "\n")

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole."""
        save_checkpoint(self.checkpoint_path, self.config.identity(), state)

    def load(self) -> dict[str, Any]:
        """Read the state to go on from, and drop the metrics that may go beyond it.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it is damaged, or of another configuration.
        """
        state = load_checkpoint(
            self.checkpoint_path, self.config.identity(), argument=lambda field: f"--{field.replace('_', '-')}"
        )
        known = [m for m in self.metrics() if m.batch <= state["batch"]]
        self.metrics_path.write_text("".join(json.dumps(asdict(m)) + "\n" for m in known))
        self.write_config()
        return state

    def append(self, progress: Progress) -> None:
        """Add a validation to ``metrics.jsonl``."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")

    def metrics(self) -> list[Progress]:
        """All validations so far."""
        return read_progress(self.metrics_path)

    def write_result(self, test: Accuracy, validation: Accuracy, seconds: float, peak_mb: float) -> None:
        """Write ``result.json``: accuracies, seconds of meta-training, and MB by which memory grew."""
        result = dict(test=asdict(test), validation=asdict(validation), seconds=seconds, peak_mb=peak_mb)
        self.result_path.write_text(json.dumps(result, indent=2) + "\n")

    def write_kernels(self, kernels: dict[str, Tensor], labels: Tensor) -> None:
        """Write ``kernels.pt``: inner products of representations of some test images, by name, and their classes."""
        torch.save({"kernels": kernels, "labels": labels}, self.kernels_path)
