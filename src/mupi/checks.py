"""Argument checks with one message format: what must hold, what came, what to do."""

from numbers import Integral, Real
from typing import NoReturn

import torch
from torch import Tensor

from mupi.torch_internals import is_transformed


def fail(argument: str, must: str, got: object, hint: str = "", *, error: type[ValueError] = ValueError) -> NoReturn:
    """Raise the library's one-line argument error.

    Args:
        argument: The argument as the caller wrote it, for example ``PiMLP(rank=...)``.
        must: What it must be.
        got: What came instead.
        hint: What to do about it, if that is not obvious.
        error: What to raise, where a caller may want to catch just this one.

    Raises:
        ValueError: Always.
    """
    raise error(f"`{argument}` must be {must}; got {got}{f'; {hint}' if hint else ''}")


def positive_int(argument: str, value: int) -> int:
    """Return ``value`` if it is an integer ≥ 1, else raise ``ValueError``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        fail(argument, "an integer ≥ 1", repr(value))
    return int(value)


def non_negative(argument: str, value: float) -> float:
    """Return ``value`` if it is a finite number ≥ 0, else raise ``ValueError``."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < float("inf"):
        fail(argument, "a finite number ≥ 0", value)
    return value


def last_axis(argument: str, x: Tensor, size: int, dtype: torch.dtype) -> None:
    """Raise ``ValueError`` unless ``x`` has shape (..., size) and the given dtype (any floating one in autocast)."""
    if x.ndim < 1 or x.shape[-1] != size:
        fail(argument, f"of shape (..., {size})", f"shape {tuple(x.shape)}")
    if not x.is_floating_point():
        fail(argument, "of a floating dtype", x.dtype, "use x.float()")
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        fail(argument, f"of the network's dtype {dtype}", x.dtype, f"use x.to({dtype}) or net.to({x.dtype})")


def finite(argument: str, x: Tensor) -> None:
    """Raise ``ValueError`` if ``x`` has a NaN or an infinity.

    Looks at tensors on the CPU only, and not while a function transform or a compiler traces: elsewhere the
    answer would cost a synchronisation or cannot be had.
    """
    # A NaN or infinity makes the sum one too; only a sum that overflows needs the slower look.
    if x.device.type == "cpu" and is_eager(x) and not torch.isfinite(x.sum()) and not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).sum())
        fail(argument, "finite", f"{bad} NaN or infinite of {x.numel()} entries", "clean the data first")


def is_eager(x: Tensor) -> bool:
    """Whether Python sees values and may keep them: not in a compiler, a transform of torch.func, a CUDA graph."""
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    return not is_transformed(x)
