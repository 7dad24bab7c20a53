"""Kernels of infinitely wide networks as other libraries have kernels: GPyTorch (and BoTorch), scikit-learn.

Neither is imported before a name is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mupi.interfaces.gpytorch_kernel import GPyTorchKernel
    from mupi.interfaces.sklearn_kernel import SklearnKernel

MODULES = {
    "GPyTorchKernel": "mupi.interfaces.gpytorch_kernel",
    "SklearnKernel": "mupi.interfaces.sklearn_kernel",
}

__all__ = ["GPyTorchKernel", "SklearnKernel"]


def __getattr__(name: str) -> Any:
    """A class, with the library that it is for."""
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
