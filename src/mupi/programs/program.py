"""`Program`: a network computation, written once, run at any width or taken to its infinite-width limit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail, positive_int
from mupi.programs.lines import Line, Listing, Scalar, Vector
from mupi.programs.spaces import Samples, Space, Width


@dataclass(frozen=True)
class Values:
    """What a program's lines came to.

    Attributes:
        values: By line: of scalars, and of the vectors that were to be kept.
        errors: Standard errors of scalars that were sampled; bounds of rounding of exact ones.
    """

    values: dict[Line, Tensor]
    errors: dict[Line, Tensor]

    def __getitem__(self, line: Line) -> Tensor:
        """The value of a scalar, or the coordinates (n, k) of a kept vector.

        Raises:
            ValueError: If it is neither.
        """
        if line not in self.values:
            fail("values[line]", "a scalar, or a vector named in keep", line)
        return self.values[line]

    def error(self, line: Scalar) -> Tensor:
        """The standard error of each entry."""
        return self.errors[line]


class Program(Listing):
    """A straight-line program in vectors, Gaussian matrices and averages (NE⊗OR⊤ of Tensor Programs; Yang 2020, 2021).

    >>> p = Program()
    >>> W, x = p.matrix("W"), p.vector("x")
    >>> y = torch.tanh(W @ x)
    >>> k = mean(x, W.T @ y)
    >>> round(p.limit()[k].item(), 6)  # E tanh'(z): W is used twice, so this is not zero
    0.605706

    `run` evaluates the lines with real matrices of a width; `limit` evaluates the random variables Z that coordinates
    converge to (Master Theorem), on samples of all of them or exactly.
    """

    def run(
        self,
        width: int,
        generator: torch.Generator | None = None,
        *,
        keep: Sequence[Vector] = (),
        dtype: torch.dtype = torch.float64,
    ) -> Values:
        """Evaluate with vectors in R^n and real n × n matrices.

        Args:
            width: n.
            generator: Randomness.
            keep: Vectors to return as well.
            dtype: Floating dtype.

        Raises:
            ValueError: If the width is no positive integer, or a line is not finite.
        """
        values = evaluate(self.lines, Width(positive_int("run(width=...)", width), generator, dtype), keep)
        return Values(values, {})

    def limit(
        self,
        samples: int,
        generator: torch.Generator | None = None,
        *,
        replicates: int = 4,
        keep: Sequence[Vector] = (),
        tolerance: float = 1e-6,
        dtype: torch.dtype = torch.float64,
    ) -> Values:
        """Evaluate the limit n → ∞ of every line.

        Args:
            samples: Samples of every random variable, in each replicate.
            generator: Randomness.
            replicates: Independent repetitions: scalars are their means, standard errors come from their spread. The
                bias, of the order of 1/samples, is not in them.
            keep: Vectors of which to return the samples, those of all replicates one below the other.
            tolerance: Relative size below which a vector counts as a combination of earlier ones.
            dtype: Floating dtype.

        Raises:
            ValueError: If a line is not finite or has no moments, or there are too few samples.
        """
        positive_int("limit(samples=...)", samples)
        if positive_int("limit(replicates=...)", replicates) < 2:
            fail("limit(replicates=...)", "at least 2, for standard errors", replicates)
        runs = [evaluate(self.lines, Samples(samples, generator, dtype, tolerance), keep) for _ in range(replicates)]
        return combine_replicates(runs)


def combine_replicates(runs: Sequence[dict[Line, Tensor]]) -> Values:
    """Means of scalars with their standard errors, and the samples of vectors one below the other."""
    values, errors = {}, {}
    for line in runs[0]:
        if isinstance(line, Vector):
            values[line] = torch.cat([run[line] for run in runs])
        else:
            stacked = torch.stack([run[line] for run in runs])
            values[line], errors[line] = stacked.mean(0), stacked.std(0) / len(runs) ** 0.5
    return Values(values, errors)


def evaluate(
    lines: Iterable[Line], space: Space, keep: Sequence[Line] = (), known: dict[Line, Any] | None = None
) -> dict[Line, Any]:
    """The values of all scalars, and of the lines to keep; others are forgotten after their last use.

    Args:
        lines: In order.
        space: Where.
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
            value = line.compute(space, *(values[x] for x in line.inputs))
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
