"""Optimisation of ordinary parameters and of atoms."""

from mupi.optim.clipping import clip_factor, gradient_norm, joint_norm
from mupi.optim.groups import check_rates, rate_groups
from mupi.optim.sgd import SGD
from mupi.optim.step_watch import StepWatch, TakenStep

# Where earlier versions had them.
from mupi.parameters import AtomParameter, FactoredGradient, FactoredParameter, MatrixParameter, factor_gradients

__all__ = [
    "SGD",
    "AtomParameter",
    "FactoredGradient",
    "FactoredParameter",
    "MatrixParameter",
    "StepWatch",
    "TakenStep",
    "check_rates",
    "clip_factor",
    "factor_gradients",
    "gradient_norm",
    "joint_norm",
    "rate_groups",
]
