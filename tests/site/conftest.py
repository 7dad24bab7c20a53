"""Fixtures for the tests of the documentation."""

from kernels.conftest import unchecked

__all__ = ["unchecked"]
