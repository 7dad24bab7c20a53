"""The NNGP and the NTK of an architecture.

`forms` says what each operation is, `structure` what follows for each value, `plan` which covariances are made of
which, `steps` runs them, on blocks of inputs that `limit_kernel` cuts.
"""

from mupi.architecture.kernel.forms import Flat, Function, Linear, Normal, Product, Weight, register
from mupi.architecture.kernel.limit_kernel import LimitKernel
from mupi.architecture.kernel.reading import kernel
from mupi.architecture.kernel.settings import Setting
from mupi.architecture.kernel.sides import Side, Times

__all__ = [
    "Flat",
    "Function",
    "LimitKernel",
    "Linear",
    "Normal",
    "Product",
    "Setting",
    "Side",
    "Times",
    "Weight",
    "kernel",
    "register",
]
