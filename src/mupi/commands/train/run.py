"""The folder of a run of `mupi train`."""

import os
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from mupi.commands.train.config import TrainConfig, current
from mupi.reports import page_files
from mupi.training.damaged import understood
from mupi.training.epoch_metrics import EpochMetrics, RegressionMetrics
from mupi.training.folder_name import folder_name
from mupi.training.records import check_fields
from mupi.training.run_folder import CONFIG, RunFolder
from mupi.training.sealed import read_sealed

WRITER = "mupi train"


def run_folder(config: TrainConfig) -> RunFolder[Any]:
    """Where a configuration's run is.

    Raises:
        ValueError: If its name is none of a folder.
    """
    folder_name("name", config.name)
    return RunFolder(
        directory=config.directory,
        settings=config.as_plain(),
        identity=config.identity(),
        record=RegressionMetrics if config.task == "regression" else EpochMetrics,
        counted_by="epoch",
        current=current,
        writer=WRITER,
        outputs=page_files("curves.png", "cost.png", "importances.png"),
        defaults={
            f.name: list(f.default) if isinstance(f.default, tuple) else f.default
            for f in fields(config)
            if f.default is not MISSING and f.name in config.identity()
        },
    )


def read_config(directory: Path) -> TrainConfig:
    """The configuration of a saved run.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFile: If it is not as it was written, or of another version.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: name a directory that `{WRITER}` has written")
    saved = read_sealed(path, otherwise := f"name another directory that `{WRITER}` has written")
    # A run that was moved is where it is found, not where it was; `.` and `..` do not say what it is called.
    found = directory if directory.name.strip(".") else Path(os.path.abspath(directory))
    with understood(path, otherwise):
        config = TrainConfig.from_plain(saved | dict(name=found.name, runs_dir=found.parent))
        check_fields(config)
        check_fields(config.network)
        config.check()
    return config
