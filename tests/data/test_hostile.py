"""Files that would crash the process, fill the memory, never end, or be read wrongly; `make attack` has more."""

import gzip
import pickle

import numpy as np
import pytest
import torch

from imagenet32_batches import write_batches
from mupi.data import Dataset
from mupi.data import omniglot as omniglot_module
from mupi.data.imagenet32 import TRAIN, load_imagenet32
from mupi.data.omniglot import load_omniglot
from mupi.data.pickled_arrays import load_arrays
from mupi.recipes.word2vec.corpus import load_corpus
from mupi.recipes.word2vec.text import LONGEST_WORD, words
from mupi.recipes.word2vec.word_vectors import WordVectors
from omniglot_archives import ALPHABETS, write_archive, write_archives

HOSTILE_TYPE = (
    b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR(I3\nS'|'\nN(S'a'\nt(dS'a'\nI1\nsI8\nI1\nI16\ntb."  # crashes NumPy's own dtype
)


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4", ">f8"])
@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_rebuilt_from_their_bytes(dtype, protocol, order):
    array = np.asarray(np.arange(24).reshape(4, 6), dtype=dtype, order=order)
    read = load_arrays(pickle.dumps({"a": array, "b": [array[0], "text", 1.5, None]}, protocol), "latin1")
    assert isinstance(read, dict)
    np.testing.assert_array_equal(read["a"], array)
    np.testing.assert_array_equal(read["b"][0], array[0])
    assert read["b"][1:] == ["text", 1.5, None]
    assert read["a"].dtype == array.dtype.newbyteorder("=") and read["a"].flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HOSTILE_TYPE, "it holds a _TypeNote"),
        (pickle.dumps(np.array([object()]), 2), "must not ask for"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "more memory than it needs"),
        (b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.", "no pickle of a few arrays"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b"x.", "."),
        (b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b".", "it holds a list"),
        (b"Pname\n.", "no pickle of arrays"),
    ],
)
def test_what_is_no_pickle_of_arrays_is_refused_in_a_line(content, message):
    with pytest.raises(ValueError, match=message) as refused:
        load_arrays(content, "latin1")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("labels", [[1, -5, 2], [1, 1.5, 2], [1, float("nan"), 2], ["1", "2", "3"], [1, 1001, 2], []])
def test_labels_that_are_no_classes_are_damage(tmp_path, labels):
    folder = write_batches(tmp_path)
    batch = {"data": np.zeros((len(labels), 3072), dtype=np.uint8), "labels": labels}
    (folder / "imagenet32" / TRAIN[0]).write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(ValueError, match=f"`.*{TRAIN[0]}` is damaged: its labels are"):
        load_imagenet32(folder, n_classes=None, batches=1)


def test_a_drawing_of_another_character_is_damage(tmp_path, monkeypatch):
    write_archives(tmp_path, monkeypatch)
    path = tmp_path / "omniglot" / "images_background.zip"
    right = omniglot_module.load_characters(tmp_path, path.name)
    assert len(right) == 13
    content = path.read_bytes()
    moved = content.replace(b"Armenian/character01/0140_01", b"Armenian/character02/0140_01")
    assert moved != content
    path.write_bytes(moved)
    with pytest.raises(ValueError, match=r"it holds 19 images of images_background/Armenian/character01, not 20"):
        load_omniglot(tmp_path)


def test_a_drawing_that_unpacks_to_more_is_not_unpacked(tmp_path, monkeypatch):
    write_archives(tmp_path, monkeypatch)
    path = tmp_path / "omniglot" / "images_background.zip"
    write_archive(path, ALPHABETS[path.name], {"images_background/Armenian/character01/0140_01.png": bytes(10**7)})
    with pytest.raises(ValueError, match="0140_01.png` is damaged: it unpacks to 10,000,000 bytes"):
        load_omniglot(tmp_path)


def test_a_text_of_one_word_ends_soon(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"a" * 5_000_000, 1))
    places = []
    with pytest.raises(ValueError, match=f"of words of at most {LONGEST_WORD:,} characters"):
        list(words(path, read=places.append))
    assert len(places) == 1, "it was read on"


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n", "\u2003"])
def test_words_are_cut_at_any_space_and_nowhere_else(tmp_path, monkeypatch, space):
    monkeypatch.setattr("mupi.recipes.word2vec.text.PIECE", 7)
    expected = [f"word{i}" * (1 + i % 3) for i in range(50)]
    (tmp_path / "text").write_text(space.join(expected), encoding="utf-8", newline="")
    assert list(words(tmp_path / "text")) == expected


@pytest.mark.parametrize(
    ("content", "binary", "message"),
    [
        (b"2 2\na 1 nan\nb 1 2\n", False, "`.*v:2` must be finite numbers; got the word 'a' with NaN"),
        (b"2 2\na 1 2\nb 1 1e99\n", False, "`.*v:3` must be finite numbers"),
        (b"1000000000 300\na 1 2\n", False, "must be at least 602,000,000,000 bytes"),
        (b"1 2\na 1 2\nb 1 2\n", False, "of 1 words, as its first line says; got more after them"),
        (b"1 2\na 0.0 1.0\n", True, "must be binary; got numbers as text"),
    ],
)
def test_vectors_that_are_no_numbers_are_refused(tmp_path, content, binary, message):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordVectors.load(tmp_path / "v", binary=binary)


def test_a_kept_corpus_that_was_changed_is_not_read(tmp_path):
    (tmp_path / "text").write_text("the cat sat on the mat " * 50)

    def load():
        return load_corpus(tmp_path / "text", tmp_path / "kept", min_count=1)

    load()
    (kept,) = (tmp_path / "kept").iterdir()
    for name in ("vocabulary.txt", "ids.npy"):
        right = (kept / name).read_bytes()
        flipped = bytearray(right)
        flipped[-5] ^= 1
        (kept / name).write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged or of another version; remove it to have it made again"):
            load()
        (kept / name).write_bytes(right)
    assert len(load().ids) == 300


def test_a_data_set_of_other_labels_than_its_classes_is_refused():
    x, y = torch.zeros(4, 6), torch.tensor([0, 1, 2, 0])
    Dataset("mine", x, y, x[:0], y[:0], (1, 2, 3), ("a", "b", "c"))
    for labels, message in ((y - 1, "from 0 to 2, .* got labels from -1 to 1"), (y + 1, "labels from 1 to 3")):
        with pytest.raises(ValueError, match=rf"`Dataset\(test_y=\.\.\.\)` must be {message}|{message}"):
            Dataset("mine", x, y, x, labels, (1, 2, 3), ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"`Dataset\(train_x=\.\.\.\)` must be finite"):
        Dataset("mine", x / 0, y, x, y, (1, 2, 3), ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"of shapes \(n, 7\) and \(n,\); got shapes \(4, 6\) and \(4,\)"):
        Dataset("mine", x, y, x, y, (1, 1, 7), ("a", "b", "c"))
