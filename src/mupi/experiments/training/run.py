"""A run's directory: its configuration, the metrics of its epochs, and a checkpoint to go on from."""

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from mupi.experiments.training.checkpoint import load_checkpoint, refuse_if_present, save_checkpoint
from mupi.experiments.training.config import TrainConfig
from mupi.figures import EpochMetrics, read_metrics

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
EPOCHS = "epochs"


@dataclass(frozen=True)
class Run:
    """The files ``config.json``, ``metrics.jsonl`` and ``checkpoint.pt`` in a configuration's directory.

    With ``config.keep_epochs`` also ``epochs/000.pt``, ``epochs/001.pt``, …: the network after each epoch.

    Args:
        config: The configuration.
    """

    config: TrainConfig

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self.config.directory

    @property
    def config_path(self) -> Path:
        """All fields of the configuration."""
        return self.directory / CONFIG

    @property
    def metrics_path(self) -> Path:
        """One line an epoch."""
        return self.directory / METRICS

    @property
    def checkpoint_path(self) -> Path:
        """Everything that the next step depends on."""
        return self.directory / CHECKPOINT

    def epoch_path(self, epoch: int) -> Path:
        """The network after so many epochs."""
        return self.directory / EPOCHS / f"{epoch:03}.pt"

    def kept_epochs(self) -> list[int]:
        """After which epochs the network was kept, in order."""
        return sorted(int(path.stem) for path in (self.directory / EPOCHS).glob("*.pt"))

    def refuse_if_present(self) -> None:
        """Keep a saved run from being replaced by mistake.

        Raises:
            ValueError: If there is a run in the directory.
        """
        refuse_if_present(self.directory, self.config_path)

    def start(self, state: dict[str, Any]) -> None:
        """Make the directory hold a new run, and nothing of an old one.

        Args:
            state: What to go on from before the first step.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = (self.epoch_path(epoch) for epoch in self.kept_epochs())
        for old in (self.checkpoint_path, self.metrics_path, *self.directory.glob("*.png"), *kept):
            old.unlink(missing_ok=True)
        self.write_config()
        self.metrics_path.touch()
        self.save(state)

    def write_config(self) -> None:
        """Write ``config.json``."""
        self.config_path.write_text(json.dumps(self.config.as_plain(), indent=2) + "\n")

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint in one go: whenever the process dies, the old or the new one is there in whole.

        Args:
            state: Tensors, numbers and strings in dictionaries and lists.
        """
        save_checkpoint(self.checkpoint_path, self.config.identity(), state)

    def keep(self, epoch: int, net: dict[str, Any]) -> None:
        """Keep the network of an epoch.

        Args:
            epoch: Counted from 1; 0 for the untrained network.
            net: Its `state_dict`, and what it was made for.
        """
        path = self.epoch_path(epoch)
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, self.config.identity(), net)

    def read(self, path: Path) -> dict[str, Any]:
        """The state in one of the run's files.

        Args:
            path: ``checkpoint_path``, or the `epoch_path` of an epoch.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or of another configuration.
        """
        defaults = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}
        return load_checkpoint(path, self.config.identity(), defaults=defaults)

    def load(self) -> dict[str, Any]:
        """Read the state to go on from, and drop the epochs that ``metrics.jsonl`` may hold beyond it.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it is damaged, or of another configuration.
        """
        state = self.read(self.checkpoint_path)
        known = [m for m in self.metrics() if m.epoch <= state["epoch"]]
        self.metrics_path.write_text("".join(m.to_json() + "\n" for m in known))
        self.write_config()
        return state

    def append(self, metrics: EpochMetrics) -> None:
        """Add an epoch to ``metrics.jsonl``."""
        with self.metrics_path.open("a") as file:
            file.write(metrics.to_json() + "\n")

    def metrics(self) -> list[EpochMetrics]:
        """All epochs so far."""
        return read_metrics(self.metrics_path)


def read_config(directory: Path) -> TrainConfig:
    """The configuration of a saved run.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: name a directory that `mupi train` has written")
    saved: dict[str, Any] = json.loads(path.read_text())
    # A run that was moved is where it is found, not where it was.
    saved |= dict(name=directory.name, runs_dir=directory.parent)
    if saved["data_dir"] is not None:
        saved["data_dir"] = Path(saved["data_dir"])
    return TrainConfig(**saved)
