"""Learning with kernels, and kernels of finite networks; those of infinitely wide ones are read from architectures."""

import sys
from typing import Any

from mupi.kernels.alignment import centered_alignment
from mupi.kernels.cholesky import Cholesky
from mupi.kernels.conjugate_gradients import ConjugateGradients
from mupi.kernels.cosine import CosineKernel
from mupi.kernels.cross_entropy_flow import CrossEntropyFlow
from mupi.kernels.dirichlet import DirichletClassification
from mupi.kernels.dynamics import KernelDynamics
from mupi.kernels.empirical_nngp import EmpiricalNNGP
from mupi.kernels.feature_error import FeatureError, feature_error
from mupi.kernels.feature_regression import FeatureRegression
from mupi.kernels.given import Kernel
from mupi.kernels.iterated import NotConvergedError
from mupi.kernels.labels import centered_one_hot
from mupi.kernels.landmarks import PivotedCholesky, UniformLandmarks
from mupi.kernels.likelihood import maximize_likelihood
from mupi.kernels.linearized import Linearized
from mupi.kernels.nystrom import NystromFeatures
from mupi.kernels.regression import KernelRegression
from mupi.kernels.ridge_system import NotPositiveDefiniteError
from mupi.kernels.tangent import EmpiricalNTK

# What earlier versions called them.
centred_alignment = centered_alignment
centred_one_hot = centered_one_hot

__all__ = [
    "Cholesky",
    "ConjugateGradients",
    "CosineKernel",
    "CrossEntropyFlow",
    "DirichletClassification",
    "EmpiricalNNGP",
    "EmpiricalNTK",
    "FeatureError",
    "FeatureRegression",
    "Kernel",
    "KernelDynamics",
    "KernelRegression",
    "Linearized",
    "NotConvergedError",
    "NotPositiveDefiniteError",
    "NystromFeatures",
    "PivotedCholesky",
    "UniformLandmarks",
    "centered_alignment",
    "centered_one_hot",
    "feature_error",
    "maximize_likelihood",
]

MOVED = ("ConvKernel", "ConvNNGP", "ConvNTK", "MLPKernel", "NNGP", "NTK")
"""What earlier versions had here: kernels of architectures, which stand on this package, and now in `mupi.nets`."""


def __getattr__(name: str) -> Any:
    """Names of earlier versions."""
    if name in MOVED:
        return getattr(sys.modules["mupi.nets"], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
