"""Tensor Programs: a computation as lines, at a finite width or in the limit."""

from mupi.programs.entries import Entries, entries, entrywise, over_n
from mupi.programs.gradients import gradients
from mupi.programs.matrices import Matrix, outer
from mupi.programs.program import Program, Values
from mupi.programs.vectors import Scalar, Vector, apply, mean

__all__ = [
    "Entries",
    "Matrix",
    "Program",
    "Scalar",
    "Values",
    "Vector",
    "apply",
    "entries",
    "entrywise",
    "gradients",
    "mean",
    "outer",
    "over_n",
]
