"""Targets of a file as classes or numbers; which of them, if it is not said."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from mupi.checks import fail
from mupi.data.own.raw import Raw
from mupi.data.own.wanted import listed
from mupi.data.own.words import are_integers, as_numbers
from mupi.data.targets import Numbers

TaskName = Literal["classification", "regression"]

FEW_INTEGERS = 20
"""So many different ones, at most, are taken for classes."""


@dataclass(frozen=True)
class Classes:
    """The names of classes.

    Attributes:
        names: In the order of a network's outputs.
    """

    names: tuple[str, ...]


def task_of(raw: Raw) -> tuple[TaskName, str]:
    """What targets are, and what is to be said of it where it might be meant otherwise.

    Words, booleans and categories are classes, numbers with a point are numbers; whole numbers are classes if they are
    few, which is never left unsaid.

    Args:
        raw: With targets.
    """
    words = spelled(raw)
    if as_numbers(words) is None:
        return "classification", ""
    different = len(set(words))
    if not are_integers(words):
        whole = all(float(word) == int(float(word)) for word in words) if different <= FEW_INTEGERS else False
        say = f"`{raw.target_name}` has {different} different whole numbers with a point, taken as numbers"
        return "regression", f"{say} (--task classification for classes)" if whole else ""
    if different <= FEW_INTEGERS and 2 * different <= len(words):
        shown = ", ".join(sorted(set(words), key=int))
        return (
            "classification",
            f"`{raw.target_name}` has integers ({shown}), taken as classes (--task regression for numbers)",
        )
    say = f"`{raw.target_name}` has {different} different integers, taken as numbers"
    return "regression", f"{say} (--task classification for classes)"


def spelled(raw: Raw) -> np.ndarray:
    """Targets as words.

    Raises:
        ValueError: If some are missing.
    """
    values = raw.target
    assert values is not None
    if values.dtype == object:
        absent = sum(value is None for value in values)
    else:
        absent = int(np.isnan(values).sum()) if np.issubdtype(values.dtype, np.floating) else 0
    if absent:
        must = f"with a target `{raw.target_name}` in each row"
        fail("data", must, f"`{raw.source}`, where {absent} of {len(values)} are missing", "leave these rows out")
    if values.dtype == object:
        return values
    if values.dtype.kind not in "biufUS":
        fail("data", "with targets that are words or numbers", f"{values.dtype} in `{raw.source}`")
    found = np.empty(len(values), object)
    found[:] = [v.decode() if isinstance(v, bytes) else v if isinstance(v, str) else repr(v) for v in values.tolist()]
    return found


def read_classes(raw: Raw) -> Classes:
    """The classes of targets, sorted: whole numbers by their size.

    Raises:
        ValueError: If there is one only, or numbers that are no classes.
    """
    words = spelled(raw)
    different = set(words)
    numbers = as_numbers(words)
    if numbers is not None and (numbers != np.round(numbers)).any():
        wrong = words[int(np.flatnonzero(numbers != np.round(numbers))[0])]
        fail("task", f"regression, for numbers such as `{raw.target_name}` {wrong}", "classification")
    if len(different) < 2:
        must = f"with at least two classes `{raw.target_name}`"
        fail("data", must, f"`{raw.source}` with one, {next(iter(different))!r}")
    if 2 * len(different) > len(words) > 10:
        must = f"with classes `{raw.target_name}` that come again"
        fail("data", must, f"`{raw.source}` with {len(different)} in {len(words)} rows", "name another --target")
    names = sorted(different) if numbers is None else sorted(different, key=lambda word: (float(word), word))
    return Classes(tuple(names))


def read_numbers(raw: Raw, rows: np.ndarray) -> Numbers:
    """The units of targets.

    Args:
        raw: With targets.
        rows: Those to train on.

    Raises:
        ValueError: If they are words, not finite, or all the same.
    """
    y = as_floats(raw)[rows]
    if y.std() == 0:
        fail("data", f"with targets `{raw.target_name}` that differ", f"`{raw.source}`, where all are {y[0]:g}")
    return Numbers(float(y.mean()), float(y.std()))


def as_floats(raw: Raw) -> np.ndarray:
    """Targets as finite numbers.

    Raises:
        ValueError: If they are none.
    """
    words = spelled(raw)
    values = as_numbers(np.array([{"True": "1", "False": "0"}.get(word, word) for word in words], object))
    if values is None:
        wrong = next(word for word in words if as_numbers(np.array([word], object)) is None)
        fail("task", f"classification, for words such as `{raw.target_name}` {wrong!r}", "regression")
    if not (np.isfinite(values) & (abs(values) < 1e150)).all():
        fail("data", f"with finite targets `{raw.target_name}`", f"`{raw.source}` with others")
    return values


def encoded(raw: Raw, targets: Classes | Numbers) -> Int64[Tensor, " n"] | Float32[Tensor, "n 1"]:
    """Targets as a network learns them.

    Raises:
        ValueError: For a class that there is not.
    """
    if isinstance(targets, Numbers):
        return torch.from_numpy((as_floats(raw) - targets.mean) / targets.std).float()[:, None]
    place, words = {name: i for i, name in enumerate(targets.names)}, spelled(raw)
    if unknown := sorted(set(words) - place.keys()):
        must = f"with targets `{raw.target_name}` among {listed(targets.names)}"
        fail("test", must, f"{listed(unknown)} in `{raw.source}`")
    return torch.tensor([place[word] for word in words])
