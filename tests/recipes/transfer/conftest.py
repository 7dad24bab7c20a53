"""An evaluation without its figure."""

import pytest


@pytest.fixture
def no_transfer_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figure, which takes longer than such an evaluation."""

    class Nothing:
        def savefig(self, *args: object, **kwargs: object) -> None:
            pass

    monkeypatch.setattr("mupi.recipes.transfer.evaluate.plot_transfer", lambda *args: Nothing())
