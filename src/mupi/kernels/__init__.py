"""Kernels of infinitely wide networks, and learning with them."""

from mupi.kernels.alignment import centered_alignment
from mupi.kernels.conv import ConvNNGP, ConvNTK
from mupi.kernels.conv_kernel import ConvKernel
from mupi.kernels.cosine import CosineKernel
from mupi.kernels.cross_entropy_flow import CrossEntropyFlow
from mupi.kernels.dirichlet import DirichletClassification
from mupi.kernels.dynamics import KernelDynamics
from mupi.kernels.empirical_nngp import EmpiricalNNGP
from mupi.kernels.feature_regression import FeatureRegression
from mupi.kernels.given import Kernel
from mupi.kernels.labels import centered_one_hot
from mupi.kernels.likelihood import maximize_likelihood
from mupi.kernels.linearized import Linearized
from mupi.kernels.mlp_kernel import MLPKernel
from mupi.kernels.nngp import NNGP
from mupi.kernels.ntk import NTK
from mupi.kernels.regression import KernelRegression
from mupi.kernels.ridge_system import NotPositiveDefiniteError
from mupi.kernels.tangent import EmpiricalNTK

# What earlier versions called them.
centred_alignment = centered_alignment
centred_one_hot = centered_one_hot

__all__ = [
    "ConvKernel",
    "ConvNNGP",
    "ConvNTK",
    "CosineKernel",
    "CrossEntropyFlow",
    "DirichletClassification",
    "EmpiricalNNGP",
    "EmpiricalNTK",
    "FeatureRegression",
    "Kernel",
    "KernelDynamics",
    "KernelRegression",
    "Linearized",
    "MLPKernel",
    "NNGP",
    "NTK",
    "NotPositiveDefiniteError",
    "centered_alignment",
    "centered_one_hot",
    "maximize_likelihood",
]
