"""Optimisation of ordinary parameters and of atoms."""

from mupi.optim.atom_parameter import AtomList, AtomParameter, GuardedCoefficients
from mupi.optim.clipping import clip_factor, gradient_norm, joint_norm
from mupi.optim.factored import FactoredGradient, FactoredParameter, asked_for
from mupi.optim.groups import check_rates, rate_groups
from mupi.optim.matrix_parameter import MatrixModule, MatrixParameter, factor_gradients, matmul
from mupi.optim.precision import own_precision
from mupi.optim.sgd import SGD

__all__ = [
    "SGD",
    "AtomList",
    "AtomParameter",
    "FactoredGradient",
    "FactoredParameter",
    "GuardedCoefficients",
    "MatrixModule",
    "MatrixParameter",
    "asked_for",
    "check_rates",
    "clip_factor",
    "factor_gradients",
    "gradient_norm",
    "joint_norm",
    "matmul",
    "own_precision",
    "rate_groups",
]
