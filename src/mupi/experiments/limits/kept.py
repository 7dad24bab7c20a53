"""Curves of networks on disk: what is trained once is not trained again, and Ctrl-C loses one network at most."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.experiments.training.memory import PeakMemory


class KeptCurves:
    """A directory with a file ``NAME.pt`` for each network that is trained, and what they all have in common.

    ``progress.jsonl`` gets a line for each as it is finished: its name, seconds of processor time, and MB by which
    the process's memory at its peak was above that before.

    Args:
        directory: Where; made if it is missing.
        settings: What the networks are trained with, as JSON has it; kept in ``config.json``.

    Raises:
        ValueError: If the directory is of other settings.
    """

    def __init__(self, directory: Path, settings: Mapping[str, object]):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        path, settings = directory / "config.json", json.loads(json.dumps(settings))
        if path.exists() and json.loads(path.read_text()) != settings:
            fail("--out", "a directory of the same settings, or a new one", directory, f"see {path}")
        path.write_text(json.dumps(settings, indent=1))

    def get(self, name: str, train: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """A network's curves by what they are, from its file or else by training it; ``seconds``, ``peak_mb`` too."""
        path = self.directory / f"{name}.pt"
        if not path.exists():
            memory, start = PeakMemory(torch.device("cpu")), time.process_time()
            curves = train()
            cost = {"seconds": time.process_time() - start, "peak_mb": memory.growth() / 1e6}
            # Renamed when it is whole, so that a file that is there can be trusted.
            partial = path.with_suffix(".partial")
            torch.save(curves | {what: torch.tensor(number) for what, number in cost.items()}, partial)
            partial.rename(path)
            with (self.directory / "progress.jsonl").open("a") as file:
                file.write(json.dumps({"network": name} | cost) + "\n")
        return torch.load(path)
