"""Fixtures for every test."""

import os

import pytest

from mupi.data import Dataset, data_directory, load_cifar10


@pytest.fixture(scope="session")
def cifar10() -> Dataset:
    """The real CIFAR-10; skips where $MUPI_DATA names no directory with its files."""
    if not os.environ.get("MUPI_DATA"):
        pytest.skip("needs CIFAR-10: set $MUPI_DATA to a directory with cifar-10-batches-py")
    if not (data_directory() / "cifar-10-batches-py").is_dir():
        pytest.skip(f"needs CIFAR-10: no cifar-10-batches-py in {data_directory()}")
    return load_cifar10(data_directory())
