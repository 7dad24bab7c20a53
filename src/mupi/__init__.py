"""mupi: infinite-width neural networks that learn features.

Symbols, axis names and the word *junction* are in docs/notation.md, the papers in docs/references.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mupi.start import leave_when_interrupted

leave_when_interrupted()  # before the imports that take long

# ruff: noqa: E402
from mupi.activations import (
    GELU,
    Abs,
    Activation,
    Cos,
    Erf,
    Identity,
    LeakyReLU,
    NormalizedPolynomial,
    PiecewiseLinear,
    Polynomial,
    Quadrature,
    ReLU,
    Sin,
    Tanh,
)
from mupi.architecture.trace import trace
from mupi.features import Atoms, Expansion, Features, Hermite, Random, RandomFeatures, Weight
from mupi.kernels import (
    EmpiricalNNGP,
    EmpiricalNTK,
    FeatureRegression,
    KernelDynamics,
    KernelRegression,
)
from mupi.layers import (
    Attention,
    AveragedReadout,
    DenseMatrix,
    InputConv2d,
    InputLayer,
    LayerError,
    PiConv2d,
    PiLinear,
    normalize,
)
from mupi.mu import MuLimit
from mupi.mup import forecast, parametrize, transfer_check
from mupi.nets import (
    MLP,
    NNGP,
    NTK,
    ConvNNGP,
    ConvNTK,
    LinearMuLimit,
    MuCNN,
    Patches,
    PiCNN,
    PiMLP,
    PiNetwork,
    PiResNet,
    PiTransformer,
    Tokens,
    error_report,
    feature_kernel,
    num_atoms,
    parameter_groups,
    sample,
    with_multipliers,
)
from mupi.optim import SGD
from mupi.parameters import factor_gradients
from mupi.parametrization import Parametrization, Roles
from mupi.parametrization.coordinate_check import coordinate_check
from mupi.programs import Program, apply, gradients, mean, outer
from mupi.version import __version__

if TYPE_CHECKING:
    from mupi.interfaces import GPyTorchKernel as GPyTorchKernel
    from mupi.interfaces import SklearnKernel as SklearnKernel

BY_OTHER_LIBRARIES = ("GPyTorchKernel", "SklearnKernel")
"""Those of `mupi.interfaces`, which import the library that they are for when they are asked for."""

__all__ = [
    "Abs",
    "Activation",
    "Atoms",
    "Attention",
    "AveragedReadout",
    "ConvNNGP",
    "ConvNTK",
    "Cos",
    "DenseMatrix",
    "EmpiricalNNGP",
    "EmpiricalNTK",
    "Erf",
    "Expansion",
    "FeatureRegression",
    "Features",
    "GELU",
    "Hermite",
    "Identity",
    "InputConv2d",
    "InputLayer",
    "KernelDynamics",
    "KernelRegression",
    "LayerError",
    "LeakyReLU",
    "LinearMuLimit",
    "MLP",
    "MuCNN",
    "MuLimit",
    "NNGP",
    "NTK",
    "NormalizedPolynomial",
    "Parametrization",
    "Patches",
    "PiCNN",
    "PiConv2d",
    "PiLinear",
    "PiMLP",
    "PiNetwork",
    "PiResNet",
    "PiTransformer",
    "PiecewiseLinear",
    "Polynomial",
    "Program",
    "Quadrature",
    "Random",
    "RandomFeatures",
    "ReLU",
    "Roles",
    "SGD",
    "Sin",
    "Tanh",
    "Tokens",
    "Weight",
    "__version__",
    "apply",
    "coordinate_check",
    "error_report",
    "factor_gradients",
    "feature_kernel",
    "forecast",
    "gradients",
    "mean",
    "normalize",
    "num_atoms",
    "outer",
    "parameter_groups",
    "parametrize",
    "sample",
    "trace",
    "transfer_check",
    "with_multipliers",
]


def __getattr__(name: str) -> Any:
    """What needs a package of an extra."""
    if name in BY_OTHER_LIBRARIES:
        return getattr(import_module("mupi.interfaces"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
