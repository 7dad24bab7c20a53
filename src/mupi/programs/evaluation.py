"""Going through the lines of a program."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.programs.line import Line
from mupi.programs.spaces import Space
from mupi.programs.vectors import Scalar


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
        ValueError: If a value is not finite; names the line.
    """
    lines, values = list(lines), known if known is not None else {}
    last = {line: i for i, user in enumerate(lines) for line in user.inputs}
    keeping = set(keep)
    for i, line in enumerate(lines):
        try:
            value = line.evaluated(space, [values[x] for x in line.inputs])
        except ValueError as error:
            raise ValueError(f"{line}: {error}") from error
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            fail(str(line), "finite", "NaN or infinity", "the values before it are")
        values[line] = value
        for x in {line, *line.inputs}:
            if not isinstance(x, Scalar) and x not in keeping and last.get(x, i) <= i:
                values.pop(x, None)
    for x in [x for x in values if not isinstance(x, Scalar) and x not in keeping]:
        del values[x]
    return values
