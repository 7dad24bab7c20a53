"""Arrays x and y in a file of NumPy (.npz) or of PyTorch (.pt), read without running any code."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mupi.checks import fail
from mupi.data.own.raw import Raw, RawImages, RawTable
from mupi.data.own.wanted import Wanted, refuse_columns

CHANNELS = (1, 2, 3, 4)


def read_npz(path: Path, wanted: Wanted) -> Raw:
    """Inputs ``x``, and ``y`` if it is there.

    Raises:
        ValueError: If the file is none of NumPy's, has no ``x``, or objects in it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, Mapping):
                fail(wanted.argument, "an .npz file with arrays x and y", f"`{path}`, which has one array")
            found = {name: file[name] for name in file if name in ("x", "y")}
            names = sorted(file)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError) or str(error).startswith("`"):
            raise
        fail(wanted.argument, "an .npz file of numbers or strings", f"`{path}` ({' '.join(str(error).split())[:200]})")
    return _raw(path, found, names, wanted)


def read_pt(path: Path, wanted: Wanted) -> Raw:
    """Inputs ``x``, and ``y`` if it is there, of a saved dictionary; or those of a pair.

    Raises:
        ValueError: If the file is none of `torch.save`, or holds something else.
    """
    try:
        saved: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch raise nearly anything for bytes that are no tensors
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        fail(
            wanted.argument, "a file of torch.save with tensors x and y and nothing else", f"`{path}` ({reason[:200]})"
        )
    if isinstance(saved, tuple | list) and 1 <= len(saved) <= 2:
        saved = dict(zip("xy", saved, strict=False))
    if not isinstance(saved, dict):
        fail(wanted.argument, "a saved dictionary or pair of tensors x and y", f"`{path}` with {type(saved).__name__}")
    found = {name: saved[name] for name in ("x", "y") if name in saved}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            fail(wanted.argument, f"of a tensor {name}", f"`{path}` with {type(value).__name__}")
        wide = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        found[name] = wide.detach().cpu().numpy()
    return _raw(path, found, sorted(map(str, saved)), wanted)


def _raw(path: Path, found: dict[str, np.ndarray], names: list[str], wanted: Wanted) -> Raw:
    if "x" not in found:
        fail(wanted.argument, "a file with arrays x and y", f"`{path}` with {', '.join(names) or 'none'}")
    x, y = found["x"], found.get("y")
    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y is not None and (y.ndim != 1 or len(y) != len(x)):
        fail(wanted.argument, "of one target y for each row of x", f"shapes {x.shape} and {y.shape} in `{path}`")
    if not len(x):
        fail(wanted.argument, "of rows", f"`{path}`, which has none")
    if y is None and wanted.only is None:
        fail(wanted.argument, "a file with arrays x and y", f"`{path}` with {', '.join(names)}")
    inputs = as_inputs(x, str(path), wanted)
    if isinstance(inputs, RawImages):
        if wanted.only is None:
            refuse_columns(wanted, str(path), "y")
        return Raw(str(path), inputs, y)
    names = list(inputs.columns)
    if wanted.only is None:
        refuse_columns(replace(wanted, ignore=()), str(path), "y")
    elif set(names) > set(wanted.only) > set():
        fail(wanted.argument, f"of x with {len(wanted.only)} columns, as in training", f"shape {x.shape} in `{path}`")
    kept, notes = replace(wanted, target=None).columns(names, str(path))
    return Raw(str(path), RawTable({name: inputs.columns[name] for name in kept}), y, notes=notes)


def as_inputs(x: np.ndarray, source: str, wanted: Wanted) -> RawTable | RawImages:
    """A matrix as a table of columns x0, x1, …; three or four axes as images.

    Raises:
        ValueError: If it is neither.
    """
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.iscomplexobj(x):
        fail(wanted.argument, "of numbers x", f"{x.dtype} in `{source}`")
    if x.ndim == 2 and x.shape[1]:
        return RawTable({f"x{i}": np.asarray(column, np.float64) for i, column in enumerate(x.T)})
    if x.ndim == 3 and min(x.shape[1:]):
        return RawImages(x[:, None])
    if x.ndim == 4 and min(x.shape[1:]) and x.shape[1] in CHANNELS:
        return RawImages(x)
    must = "of x with axes (rows, columns), (images, height, width) or (images, channels, height, width)"
    fail(wanted.argument, must, f"shape {x.shape} in `{source}`", "if channels are last, use x.transpose(0, 3, 1, 2)")
