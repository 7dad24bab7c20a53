"""An evaluation without its figure."""

import pytest

from mupi.reports import Report


@pytest.fixture
def no_transfer_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figure, which takes longer than such an evaluation."""
    monkeypatch.setattr(Report, "figure", lambda *_: None)
