"""mupi: infinite-width neural networks that learn features."""

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
from mupi.experiments.widths.coordinates import coordinate_check
from mupi.features import Atoms, Expansion, Hermite, Random
from mupi.kernels import NNGP, NTK, KernelRegression
from mupi.layers import Attention, InputConv2d, InputLayer, LayerError, PiConv2d, PiLinear, normalize
from mupi.nets import (
    MLP,
    LinearMuLimit,
    Patches,
    PiCNN,
    PiMLP,
    PiResNet,
    PiTransformer,
    Tokens,
    parameter_groups,
    parametrize,
)
from mupi.optim import SGD, factor_gradients
from mupi.parametrization import Parametrization
from mupi.programs import MuLimit, Program
from mupi.version import __version__

__all__ = [
    "Abs",
    "Activation",
    "Atoms",
    "Attention",
    "Cos",
    "Erf",
    "Expansion",
    "GELU",
    "Hermite",
    "Identity",
    "InputConv2d",
    "InputLayer",
    "KernelRegression",
    "LayerError",
    "LeakyReLU",
    "LinearMuLimit",
    "MLP",
    "MuLimit",
    "NNGP",
    "NTK",
    "NormalizedPolynomial",
    "PiecewiseLinear",
    "Parametrization",
    "Patches",
    "PiCNN",
    "PiConv2d",
    "PiLinear",
    "PiMLP",
    "PiResNet",
    "PiTransformer",
    "Polynomial",
    "Program",
    "Quadrature",
    "Random",
    "ReLU",
    "SGD",
    "Sin",
    "Tanh",
    "Tokens",
    "__version__",
    "coordinate_check",
    "factor_gradients",
    "normalize",
    "parameter_groups",
    "parametrize",
]
