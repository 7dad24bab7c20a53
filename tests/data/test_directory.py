from pathlib import Path

import pytest

from mupi.data import data_directory


def test_the_chosen_directory_comes_before_the_environment_and_that_before_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MUPI_DATA", "from-environment")
    assert data_directory(tmp_path) == tmp_path
    assert data_directory() == Path("from-environment")
    monkeypatch.setenv("MUPI_DATA", "")
    assert data_directory().name == "mupi"
    monkeypatch.delenv("MUPI_DATA")
    assert data_directory().name == "mupi"


def test_a_chosen_directory_that_is_not_there_is_refused_and_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="mistyped` is no folder"):
        data_directory(tmp_path / "mistyped")
    assert not (tmp_path / "mistyped").exists()
