"""Optimisation of ordinary parameters and of atoms."""

from mupi.optim.atom_parameter import AtomGradient, AtomList, AtomParameter, atom_parameters
from mupi.optim.clipping import clip_factor, gradient_norm, joint_norm
from mupi.optim.sgd import SGD

__all__ = [
    "AtomGradient",
    "AtomList",
    "AtomParameter",
    "SGD",
    "atom_parameters",
    "clip_factor",
    "gradient_norm",
    "joint_norm",
]
