"""The NNGP and the NTK of an architecture.

`forms` says what each operation is, `structure` what follows for each value, `plan` which covariances are made of
which, `steps` runs them, on blocks of inputs that `matrices` cuts.
"""

from mupi.architecture.kernel.forms import Flat, Function, Linear, Normal, Product, Weight, register
from mupi.architecture.kernel.limit_kernel import LimitKernel, LimitKernels
from mupi.architecture.kernel.reading import kernel, kernels
from mupi.architecture.kernel.settings import Setting
from mupi.architecture.kernel.sides import Side, Times

__all__ = [
    "Flat",
    "Function",
    "LimitKernel",
    "LimitKernels",
    "Linear",
    "Normal",
    "Product",
    "Setting",
    "Side",
    "Times",
    "Weight",
    "kernel",
    "kernels",
    "register",
]
