import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest

from mupi.recipes.word2vec import text as module
from mupi.recipes.word2vec.text import words
from mupi.recipes.word2vec.text8 import find_text
from mupi.recipes.word2vec.wikifil import letters, wikifil

TEXT = " the quick brown fox\njumps over\tthe lazy dog " * 30


def written(path: Path, text: str = TEXT) -> Path:
    """The text in a file, packed as its suffix says."""
    raw = text.encode()
    match path.suffix:
        case ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("text8", raw)
        case suffix:
            pack = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}.get(suffix, bytes)
            path.write_bytes(pack(raw))
    return path


@pytest.mark.parametrize("name", ["text8", "text8.zip", "text.xz", "text.gz", "text.bz2", "some.txt"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_words_are_what_white_space_separates_however_packed_and_cut(tmp_path, monkeypatch, name, piece):
    monkeypatch.setattr(module, "PIECE", piece)
    assert list(words(written(tmp_path / name))) == TEXT.split()


def test_progress_is_told_in_bytes_of_the_file(tmp_path):
    path = written(tmp_path / "text.gz")
    read: list[int] = []
    list(words(path, read=read.append))
    assert read[-1] == path.stat().st_size


@pytest.mark.parametrize("name", ["text8.zip", "text.xz", "text.gz", "text.bz2"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, name):
    path = written(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{name}` is damaged: it cannot be unpacked") as raised:
        list(words(path))
    assert "\n" not in str(raised.value)


def test_a_zip_of_several_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", "a")
        archive.writestr("b", "b")
    with pytest.raises(ValueError, match=r"must be a zip of one file; got 2 files; unpack the one you mean"):
        list(words(tmp_path / "two.zip"))


def test_a_missing_text_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"other.txt` is missing"):
        list(words(tmp_path / "other.txt"))
    with pytest.raises(FileNotFoundError, match=rf"found no text `other`.*`{tmp_path}`"):
        find_text("other", tmp_path)

    def offline(*args: object, **kwargs: object):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(FileNotFoundError, match=r"download failed \(no network\).*text8\.zip") as raised:
        find_text("text8", tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["text8", "text8.zip", "text8.txt.xz"])
def test_a_text_is_found_by_its_name_in_the_data_directory_or_its_folder_text(tmp_path, name):
    (tmp_path / "text").mkdir()
    path = written(tmp_path / "text" / name)
    assert find_text("text8", tmp_path) == path
    assert find_text(str(path), tmp_path / "elsewhere") == path


DUMP = """<mediawiki><page><title>Anarchism</title><text xml:space="preserve">'''Anarchism''' is a [[political
theory|Theory]] of 1840.&lt;ref name=x&gt;gone&lt;/ref&gt; See [http://gone.org the page], {{gone}} &amp;nbsp; and
[[Image:Gone.jpg|thumb|left|250px|a caption]] [[Category:Politics]] [[de:Gone]] [[Kept]]</text></page>
<page><title>gone</title><text xml:space="preserve">#REDIRECT [[gone]]</text></page></mediawiki>"""


@pytest.mark.parametrize("cut", [1, 50, 10_000])
def test_wikifil_keeps_what_a_reader_of_the_article_sees(cut):
    pieces = [DUMP[i : i + cut] for i in range(0, len(DUMP), cut)]
    expected = "anarchism is a theory of one eight four zero see the page and a caption politics kept"
    assert "".join(wikifil(pieces)).split() == expected.split()


def test_letters_are_lower_case_with_digits_spelled_out():
    assert "".join(letters(["In 1984, it's Ünder"])) == "in one nine eight four it s nder"
