"""Parameters whose gradients are kept as factors (δ, x), one row a sample: lists of atoms, and matrices."""

from mupi.parameters.atom_parameter import AtomList, AtomParameter, GuardedCoefficients
from mupi.parameters.factored import FactoredGradient, FactoredParameter, Step, asked_for
from mupi.parameters.matrix_parameter import MatrixModule, MatrixParameter, factor_gradients, matmul
from mupi.parameters.precision import own_precision

__all__ = [
    "AtomList",
    "AtomParameter",
    "FactoredGradient",
    "FactoredParameter",
    "GuardedCoefficients",
    "MatrixModule",
    "MatrixParameter",
    "Step",
    "asked_for",
    "factor_gradients",
    "matmul",
    "own_precision",
]
