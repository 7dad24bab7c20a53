from pathlib import Path

from mupi.data import data_directory


def test_the_chosen_directory_comes_before_the_environment_and_that_before_the_cache(monkeypatch):
    monkeypatch.setenv("MUPI_DATA", "from-environment")
    assert data_directory(Path("chosen")) == Path("chosen")
    assert data_directory() == Path("from-environment")
    monkeypatch.setenv("MUPI_DATA", "")
    assert data_directory().name == "mupi"
    monkeypatch.delenv("MUPI_DATA")
    assert data_directory().name == "mupi"
