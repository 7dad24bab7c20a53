"""How far off closed forms may be: the bounds of their moments, and what those do to all that is computed from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mupi.programs.evaluation import evaluate
from mupi.programs.exact import Exact
from mupi.programs.line import Line
from mupi.programs.matrices import Matrix
from mupi.programs.vectors import Scalar, Vector


def exact_errors(lines: Sequence[Line], space: Exact, values: Mapping[Line, Any]) -> dict[Line, Tensor]:
    """Bounds of the errors of all scalars of a program whose limit was evaluated by `Exact`.

    An average has the sum of the bounds of its moments. What moments do further on, in covariances, coefficients and
    scalars, is tried: the program is evaluated again with every moment wrong by its bound, all in one direction, and
    in directions of which any two moments have opposite ones once. By how much a scalar moves is added up; infinity
    stands for a program that cannot be evaluated then.

    Args:
        lines: Lines of a program, in order.
        space: Where they were evaluated.
        values: Of scalars and vectors.
    """
    errors: dict[Line, Tensor] = {line: torch.zeros_like(values[line]) for line in lines if isinstance(line, Scalar)}
    averages = [line for line in errors if line.inputs and all(isinstance(x, Vector) for x in line.inputs)]
    for line in averages:
        errors[line] = space.bound(*(values[x] for x in line.inputs))
    doubtful = sum(error > 0 for error in space.errors.values())
    goes_on = any(isinstance(x, Scalar | Matrix) for line in lines for x in line.inputs)
    if not doubtful or not goes_on:
        return errors
    for bits in (0, *(1 << b for b in range((doubtful - 1).bit_length()))):
        try:
            moved = evaluate(lines, Exact(lambda k, bits=bits: -1 if k & bits else 1))
        except (ValueError, RuntimeError):
            return {line: torch.full_like(error, float("inf")) for line, error in errors.items()}
        errors = {line: error + (moved[line] - values[line]).abs() for line, error in errors.items()}
    return errors
