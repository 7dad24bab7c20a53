"""Fixtures for the tests of kernels."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Calls without the shape checks of the test run, as users make them: the library's own messages come first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
