"""Data sets in the library `datasets` of Hugging Face: by a name on their hub, or saved to a folder."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np

from mupi.checks import fail
from mupi.data.own.arrow_table import column_of, from_arrow
from mupi.data.own.image_folder import as_pixels, stacked
from mupi.data.own.raw import Raw, RawImages, RawTable
from mupi.data.own.wanted import Wanted, listed
from mupi.extras import require

PREFIX = "hf:"

OFFLINE = "HF_HUB_OFFLINE"
"""The variable by which the hub's library looks into its cache only; it is read when that is imported."""
PATIENCE = 3.0
"""Seconds to wait for the hub's answer."""


def read_hub(source: str, part: str, wanted: Wanted) -> Raw | None:
    """One part of a data set; None if it has no such part.

    The target is the column that is wanted, or else the only one of classes.

    Args:
        source: ``hf:`` and a folder that ``save_to_disk`` has written, or NAME or NAME:CONFIGURATION on the hub.
        part: ``train`` or ``test``; a data set without parts is all ``train``.
        wanted: Which columns.

    Raises:
        ValueError: If it cannot be had, or has columns of something else.
    """
    data = _load(source.removeprefix(PREFIX), wanted.argument)
    if isinstance(data, dict):
        if "train" not in data:
            fail(wanted.argument, "a data set with a part `train`", f"{source} with {listed(list(map(str, data)))}")
        return _raw(data[part], source, wanted) if part in data else None
    return _raw(data, source, wanted) if part == "train" else None


def answers() -> bool:
    """Whether the hub can be reached: its library itself tries six times, for half a minute."""
    try:
        urlopen(Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD"), timeout=PATIENCE)
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, SSLError)  # it is there, and its library may know more certificates
    except (OSError, ValueError):
        return False
    return True


def _load(name: str, argument: str) -> Any:
    if not Path(name).is_dir() and OFFLINE not in os.environ and not answers():
        os.environ[OFFLINE] = "1"
    require("datasets", f"--data {PREFIX}NAME")
    import datasets

    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)  # each attempt to reach the hub is one
    try:
        if Path(name).is_dir():
            return datasets.load_from_disk(name)
        where, _, configuration = name.partition(":")
        return datasets.load_dataset(where, configuration or None)
    # Of the network, of files and of names, each library below it has its own.
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
        hint = "without a network, name a folder that save_to_disk has written"
        fail(argument, "a data set that can be loaded", f"{PREFIX}{name} ({reason})", hint)
    finally:
        logging.disable(logging.NOTSET)


def _raw(data: Any, source: str, wanted: Wanted) -> Raw:
    import datasets

    kinds, target = data.features, wanted.target
    if target is None and wanted.only is None:
        labels = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
        if len(labels) != 1:
            fail(
                "target", "given for a data set without one column of classes", "none", f"it has {listed(list(kinds))}"
            )
        target = labels[0]
    images = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image) and name not in wanted.ignore]
    if not images:
        raw = from_arrow(data.with_format("arrow")[:], source, replace(wanted, target=target))
        assert isinstance(raw.inputs, RawTable)
        columns = {name: _labels(kinds[name], values) for name, values in raw.inputs.columns.items()}
        learned = None if raw.target is None else _labels(kinds[raw.target_name], raw.target)
        return replace(raw, inputs=RawTable(columns), target=learned)
    rest = [name for name in kinds if name not in (*images, *wanted.ignore, target)]
    if len(images) > 1 or rest and wanted.only is None:
        got = f"{listed([*images, *rest])} in {source}"
        fail(wanted.argument, "of one column of images and one to learn", got, "leave others out with --ignore")
    if not len(data):
        fail(wanted.argument, "of images", f"{source}, which has none")
    names = [f"{source}, image {i}" for i in range(len(data))]
    shown = [as_pixels(image, name, wanted) for image, name in zip(data[images[0]], names, strict=True)]
    pixels = RawImages(stacked(shown, names, wanted.argument))
    if target is None or target not in kinds:
        return Raw(source, pixels)
    column = column_of(data.select_columns([target]).with_format("arrow")[:], target, source, wanted)
    return Raw(source, pixels, _labels(kinds[target], column), target)


def _labels(kind: Any, values: np.ndarray) -> np.ndarray:
    """Numbers of a column of classes as their names; -1 is none."""
    names = getattr(kind, "names", None)
    if names is None or values.dtype == object:
        return values
    found = np.empty(len(values), object)
    found[:] = [None if v != v or v < 0 else names[int(v)] for v in values]
    return found
