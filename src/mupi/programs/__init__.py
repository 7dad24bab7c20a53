"""Tensor Programs: a computation as lines, at a finite width or in the limit."""

from mupi.programs.lines import Matrix, Scalar, Vector, apply, mean, outer
from mupi.programs.mu_limit import MuLimit
from mupi.programs.program import Program, Values

__all__ = ["Matrix", "MuLimit", "Program", "Scalar", "Values", "Vector", "apply", "mean", "outer"]
