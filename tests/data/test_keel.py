"""KEEL's tables: numbers, words and what is missing."""

from pathlib import Path

import numpy as np
import pytest

from mupi.data.keel import keel_directory, keel_names, load_keel


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "keel").mkdir()
    (tmp_path / "keel" / "pets.dat").write_text("1, cat, 2.5, yes\n?,dog,1e2,no\n3,<null>,0,yes\n")
    (tmp_path / "keel" / "odd.dat").write_text("1,2\n1\n")
    return tmp_path


def test_numbers_words_and_what_is_missing_are_told_apart(folder):
    table = load_keel("pets", folder)
    np.testing.assert_array_equal(table.numbers, [[1, 2.5], [np.nan, 100], [3, 0]])
    assert table.categories.tolist() == [["cat"], ["dog"], [None]]
    assert table.labels.tolist() == ["yes", "no", "yes"]
    assert table.columns.shape == (3, 3)
    assert keel_names(folder) == ("odd", "pets")


def test_what_is_no_table_is_refused(folder):
    with pytest.raises(ValueError, match="rows of one length"):
        load_keel("odd", folder)
    with pytest.raises(FileNotFoundError, match="there is no table `cats`; there are odd, pets"):
        load_keel("cats", folder)
    assert keel_directory(folder) == Path(folder) / "keel"
