"""Pickles of arrays, in which data sets are handed out: read without running what else a pickle may ask for."""

import _codecs
import pickle

import numpy as np


class ArrayUnpickler(pickle.Unpickler):
    """Builds Python's plain types and NumPy arrays, and refuses to import anything else."""

    allowed = {
        # NumPy's private function, by its names of before and after 2.0; an empty array is all it makes.
        ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__new__,
        ("numpy._core.multiarray", "_reconstruct"): np.ndarray.__new__,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # How Python 3 writes bytes for Python 2.
        ("_codecs", "encode"): _codecs.encode,
    }

    def find_class(self, module: str, name: str) -> object:
        """Look up one of the few names that files of arrays hold.

        Raises:
            pickle.UnpicklingError: For any other.
        """
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"a file of arrays must not ask for {module}.{name}")
        return self.allowed[module, name]
