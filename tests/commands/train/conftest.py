"""Fixtures for the tests of `mupi train`."""

from kernels.conftest import unchecked

__all__ = ["unchecked"]
