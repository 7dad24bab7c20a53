"""The directory of a few-shot run: configuration, metrics, a checkpoint to go on from, and the test's result."""

import json
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mupi.checks import fail
from mupi.experiments.few_shot.omniglot_config import OmniglotConfig
from mupi.figures.few_shot import Accuracy, Progress, read_progress


@dataclass(frozen=True)
class FewShotRun:
    """The files ``config.json``, ``metrics.jsonl``, ``checkpoint.pt`` and ``result.json`` of one seed.

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
    def result_path(self) -> Path:
        """The test."""
        return self.directory / "result.json"

    def refuse_if_present(self) -> None:
        """Keep a saved run from being replaced by mistake.

        Raises:
            ValueError: If there is a run in the directory.
        """
        if (self.directory / "config.json").exists():
            raise ValueError(
                f"`{self.directory}` already holds a run; continue it with --resume, replace it with --overwrite, "
                "or choose another --name"
            )

    def start(self) -> None:
        """Make the directory hold a new run, and nothing of an old one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in (self.checkpoint_path, self.result_path, *self.directory.glob("*.png")):
            old.unlink(missing_ok=True)
        self.metrics_path.write_text("")
        self.write_config()

    def write_config(self) -> None:
        """Write ``config.json``."""
        plain = self.config.as_plain() | {"seed": self.seed}
        (self.directory / "config.json").write_text(json.dumps(plain, indent=2) + "\n")

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole."""
        partial = self.checkpoint_path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({"config": self.config.identity(), "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.checkpoint_path)

    def load(self) -> dict[str, Any]:
        """Read the state to go on from, and drop the metrics that may go beyond it.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it is damaged, or of another configuration.
        """
        path = self.checkpoint_path
        if not path.exists():
            raise FileNotFoundError(f"`{path}` is missing; leave --resume out to start this run")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"`{path}` is damaged; start the run again with --overwrite") from error
        for field, value in self.config.identity().items():
            saved = checkpoint["config"].get(field)
            if saved != value:
                flag = f"--{field.replace('_', '-')}"
                fail(flag, f"{saved!r} as in `{path}` to resume it", repr(value), "or choose another --name")
        known = [m for m in self.metrics() if m.batch <= checkpoint["state"]["batch"]]
        self.metrics_path.write_text("".join(json.dumps(asdict(m)) + "\n" for m in known))
        self.write_config()
        return checkpoint["state"]

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
