"""Going through the lines of a program."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.programs.deferred import Deferred, settle
from mupi.programs.family import LimitMatrix
from mupi.programs.line import Line
from mupi.programs.spaces import Space
from mupi.programs.vectors import MatrixLike, Scalar, Vector


def evaluate(
    lines: Iterable[Line], space: Space, keep: Sequence[Line] = (), known: dict[Line, Any] | None = None
) -> dict[Line, Any]:
    """The values of all scalars, and of the lines to keep; others are forgotten after their last use.

    Args:
        lines: Lines of a program, in order.
        space: What vectors and matrices are: of a width, or random variables of the limit.
        keep: Vectors and matrices.
        known: Values of earlier lines, which this call forgets if they are not to be kept.

    Raises:
        ValueError: If an operation fails, or a value is not finite or of another shape than when the line was written;
            names the line, and where it was written.
    """
    lines, values = list(lines), known if known is not None else {}
    last = {line: i for i, user in enumerate(lines) for line in user.inputs}
    keeping = set(keep)
    deferring = False
    for i, line in enumerate(lines):
        # Lines of entries follow one another; what is still needed of them is computed all together.
        if deferring and not isinstance(line, MatrixLike):
            _settle(values)
        deferring = isinstance(line, MatrixLike)
        try:
            value = line.evaluated(space, [values[x] for x in line.inputs])
            if isinstance(value, Tensor):
                _check(line, value, space)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ValueError(_told(line, error)) from error
        values[line] = value
        for x in {line, *line.inputs}:
            if not isinstance(x, Scalar) and x not in keeping and last.get(x, i) <= i:
                values.pop(x, None)
    for x in [x for x in values if not isinstance(x, Scalar) and x not in keeping]:
        del values[x]
    _settle(values)
    return values


def _settle(values: dict[Line, Any]) -> None:
    """Let there be numbers in place of what is deferred.

    Raises:
        ValueError: If they are not finite; names the line.
    """
    found = {line: getattr(value, "entries", value) for line, value in values.items()}
    found = {line: entries for line, entries in found.items() if isinstance(entries, Deferred)}
    settle(found.values())
    for line, entries in found.items():
        if not entries.finite:
            fail(str(line), "finite", "NaN or infinity", "the values before it are")
        whole = entries.value
        values[line] = replace(values[line], entries=whole) if isinstance(values[line], LimitMatrix) else whole


def _check(line: Line, value: Tensor, space: Space) -> None:
    """Raise unless a value is finite and of the shape that the line was written with."""
    if not torch.isfinite(value).all():
        fail(str(line), "finite", "NaN or infinity", "the values before it are")
    if isinstance(line, Scalar):
        wanted = tuple(line.probe.shape)
    elif isinstance(line, Vector):
        wanted = (getattr(space, "n", len(value)), line.columns)
    else:
        return
    if tuple(value.shape) != wanted:
        fail(str(line), f"of shape {wanted}, as when it was written", tuple(value.shape))


def _told(line: Line, error: Exception) -> str:
    """What went wrong, in one line."""
    said = " ".join(str(error).split()) or "no more is known"
    told = said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"
    file, number = line.written
    where = os.path.relpath(file) if os.path.exists(file) else file
    return (told if told.startswith(f"`{line}`") else f"{line}: {told}") + f" (written in {where}:{number})"
