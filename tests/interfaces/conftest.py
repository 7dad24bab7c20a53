"""Fixtures for the tests of interfaces."""

from kernels.conftest import unchecked

__all__ = ["unchecked"]
