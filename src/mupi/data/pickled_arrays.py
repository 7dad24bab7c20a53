"""Pickles of arrays, in which data sets are handed out: read without running what else a pickle may ask for.

A pickle is a program, and NumPy's own classes are no safe ones to give it: a `numpy.dtype` with a made-up state crashes
the process. So a pickle gets stand-ins that only take notes, and arrays are made from those: shape, type, bytes.
"""

import io
import pickle
import pickletools
from math import prod
from typing import Any

import numpy as np

TYPES = ("|u1", "|i1", *(order + kind for order in "<>" for kind in ("u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")))
"""The element types that arrays may have: byte order, kind and size."""

MOST_TUPLES = 24
"""A file of two arrays has 16. Tuples of tuples that are keys of a dict cost 2^depth steps each time."""

MOST_OPERATIONS = 4_000_000
"""Two for each of a million labels, and names."""

Plain = dict | list | str | bytes | int | float | bool | None | np.ndarray


def load_arrays(content: bytes, encoding: str) -> Plain:
    """What a pickle of Python's plain types and of NumPy arrays holds.

    Args:
        content: The bytes of the file.
        encoding: How Python 2's strings are read: ``bytes`` or ``latin1``.

    Raises:
        ValueError: If it holds anything else, is damaged, or would take more memory than its own size is good for.
    """
    try:
        _check_operations(content)
        return _rebuilt(_Unpickler(io.BytesIO(content), encoding=encoding).load())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"it is no pickle of arrays ({type(error).__name__}: {reason})") from error


def _check_operations(content: bytes) -> None:
    """Raise ``ValueError`` for a pickle that is small and makes something large or slow."""
    tuples = 0
    for operations, (operation, argument, _) in enumerate(pickletools.genops(content), 1):
        tuples += "TUPLE" in operation.name
        # The memo is a table as long as its largest index.
        if operations > MOST_OPERATIONS or tuples > MOST_TUPLES:
            raise ValueError("it is no pickle of a few arrays")
        if "PUT" in operation.name and isinstance(argument, int) and argument > operations:
            raise ValueError("it asks for more memory than it needs")


class _Unpickler(pickle.Unpickler):
    """Builds Python's plain types and notes of arrays, and refuses to import anything else."""

    def find_class(self, module: str, name: str) -> object:
        """Look up one of the few names that files of arrays hold.

        Raises:
            pickle.UnpicklingError: For any other.
        """
        match module, name:
            # NumPy's private function, by its names of before and after 2.0.
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return _ArrayNote
            case ("numpy", "ndarray"):
                return "ndarray"
            case ("numpy", "dtype"):
                return _TypeNote
            # How Python 3 writes bytes for Python 2.
            case ("_codecs", "encode"):
                return _encode
            # How it writes none.
            case ("__builtin__" | "builtins", "bytes"):
                return _no_bytes
        raise pickle.UnpicklingError(f"a file of arrays must not ask for {module}.{name}")


class _TypeNote:
    """What a pickle says of an element type: kind and size, then byte order."""

    def __init__(self, name: str | bytes, *ignored: object):
        self.name, self.order = name.decode("ascii") if isinstance(name, bytes) else str(name), "|"

    def __setstate__(self, state: tuple) -> None:
        version, order, *_ = state
        if version not in (3, 4):
            raise ValueError(f"an array's type in it is of version {version}")
        self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)

    def dtype(self) -> np.dtype:
        """The type, if it is one of `TYPES`."""
        name = self.order + self.name
        if name not in TYPES:
            raise ValueError(f"an array of type {name!r} is none of numbers")
        return np.dtype(name)


class _ArrayNote:
    """What a pickle says of an array: shape, element type, order of its axes, bytes."""

    def __init__(self, *ignored: object):
        self.state: Any = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """The array, if its bytes are as many as its shape asks for."""
        _, shape, kind, columns_first, content = self.state
        if not isinstance(kind, _TypeNote) or not isinstance(content, (bytes, str)) or not isinstance(shape, tuple):
            raise ValueError("an array in it is not given by shape, type and bytes")
        content = content.encode("latin1") if isinstance(content, str) else content
        dtype = kind.dtype()
        if not all(type(n) is int and n >= 0 for n in shape) or prod(shape) * dtype.itemsize != len(content):
            raise ValueError(f"an array of shape {shape} and type {dtype} in it has {len(content)} bytes")
        array = np.frombuffer(content, dtype).reshape(shape, order="F" if columns_first else "C")
        return array.astype(dtype.newbyteorder("="), order="C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"a file of arrays must not ask for the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _rebuilt(value: Any, depth: int = 0) -> Any:
    """The same with arrays in place of notes; at most a dict of lists deep."""
    if isinstance(value, _ArrayNote):
        return value.array()
    if depth < 3 and type(value) is dict:
        return {key: _rebuilt(entry, depth + 1) for key, entry in value.items() if isinstance(key, (str, bytes))}
    if depth < 3 and type(value) is list:
        return [_rebuilt(entry, depth + 1) for entry in value]
    if type(value) in (str, bytes, int, float, bool, type(None)):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")
