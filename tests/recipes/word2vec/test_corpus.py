import os
import string

import pytest
import torch

from assertions import assert_close
from mupi.data import data_directory
from mupi.recipes.word2vec import corpus as module
from mupi.recipes.word2vec.corpus import encode, load_corpus
from mupi.recipes.word2vec.vocabulary import Vocabulary

TEXT = "b a c a b a d d a rare"


def test_ids_are_places_in_the_vocabulary_by_falling_count_ties_by_first_appearance():
    corpus = encode(iter(TEXT.split()), min_count=1)
    assert corpus.vocabulary.words == ("a", "b", "d", "c", "rare")
    assert corpus.vocabulary.counts.tolist() == [4, 2, 2, 1, 1]
    assert [corpus.vocabulary.words[i] for i in corpus.ids.tolist()] == TEXT.split()


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_rare_words_are_left_out_of_vocabulary_and_text(monkeypatch, at_once):
    monkeypatch.setattr(module, "WORDS_AT_ONCE", at_once)
    corpus = encode(iter(TEXT.split()), min_count=2, max_vocabulary=2)
    assert corpus.vocabulary.words == ("a", "b")
    assert [corpus.vocabulary.words[i] for i in corpus.ids.tolist()] == [w for w in TEXT.split() if w in "ab"]


def test_the_distributions_are_word2vec_s():
    vocabulary = encode(iter(TEXT.split()), min_count=1).vocabulary
    noise = torch.tensor([4, 2, 2, 1, 1]).double() ** 0.75
    assert_close(vocabulary.noise(), noise / noise.sum())
    share = torch.tensor([4, 2, 2, 1, 1]).double() / 10
    assert_close(vocabulary.kept_share(0.05), ((0.05 / share).sqrt() + 0.05 / share).clamp(max=1))
    assert vocabulary.kept_share(0.0).tolist() == [1] * 5


def test_a_corpus_is_kept_on_disk_and_read_from_there(tmp_path, monkeypatch):
    path = tmp_path / "text8"
    path.write_text(TEXT)
    first = load_corpus(path, tmp_path / "kept", min_count=2)
    monkeypatch.setattr(module, "encode", None)
    again = load_corpus(path, tmp_path / "kept", min_count=2)
    assert again.vocabulary.words == first.vocabulary.words
    assert torch.equal(again.vocabulary.counts, first.vocabulary.counts)
    assert torch.equal(again.ids, first.ids)


def test_a_kept_corpus_is_known_by_the_text_s_contents_not_its_time(tmp_path, monkeypatch):
    path = tmp_path / "text8"
    path.write_text(TEXT)
    load_corpus(path, tmp_path / "kept", min_count=2)
    os.utime(path, (0, 0))
    monkeypatch.setattr(module, "encode", None)
    assert len(load_corpus(path, tmp_path / "kept", min_count=2).ids) == 8


def test_ids_take_two_bytes_where_the_vocabulary_lets_them(tmp_path):
    path = tmp_path / "text8"
    for size, bytes_an_id in ((1 << 16, 2), ((1 << 16) + 1, 4)):
        path.write_text(" ".join(f"w{i}" for i in range(size)))
        ids = load_corpus(path, tmp_path / "kept", min_count=1).ids
        assert ids.itemsize == bytes_an_id
        assert torch.equal(ids.long(), torch.arange(size))


@pytest.mark.parametrize("change", [dict(min_count=1), dict(max_words=5), dict(max_vocabulary=2), "text"])
def test_another_text_or_setting_is_another_corpus(tmp_path, change):
    path = tmp_path / "text8"
    path.write_text(TEXT)
    first = load_corpus(path, tmp_path / "kept", min_count=2)
    if change == "text":
        path.write_text(TEXT + " e e")
        change = {}
    other = load_corpus(path, tmp_path / "kept", **{"min_count": 2, **change})
    assert other.vocabulary.words != first.vocabulary.words or len(other.ids) != len(first.ids)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(min_count=0), r"`min_count` must be an integer ≥ 1; got 0"),
        (dict(min_count=5), r"`min_count` must be so low that two words or more remain; got 5 and 0 words"),
        (dict(min_count=1, max_vocabulary=0), "`max_vocabulary`"),
        (dict(min_count=1, max_words=-1), "`max_words`"),
    ],
)
def test_bad_settings_are_named(tmp_path, settings, message):
    (tmp_path / "text8").write_text(TEXT)
    with pytest.raises(ValueError, match=message):
        load_corpus(tmp_path / "text8", tmp_path / "kept", **settings)


def test_a_vocabulary_file_that_is_damaged_is_named_with_its_line(tmp_path):
    (tmp_path / "vocabulary.txt").write_text("a 3\nb\n")
    with pytest.raises(ValueError, match=r"vocabulary.txt:2` must be `word count`"):
        Vocabulary.load(tmp_path / "vocabulary.txt")


def test_the_real_corpus_begins_as_text8_does_and_its_most_frequent_word_is_the(tmp_path):
    if not os.environ.get("MUPI_DATA"):
        pytest.skip("needs a corpus: set $MUPI_DATA to a directory with text/corpus.txt.xz")
    path = data_directory() / "text" / "corpus.txt.xz"
    if not path.is_file():
        pytest.skip(f"needs a corpus: no {path}")
    corpus = load_corpus(path, tmp_path, min_count=1, max_words=100_000)
    assert len(corpus.ids) == 100_000
    assert corpus.vocabulary.words[0] == "the"
    assert all(set(word) <= set(string.ascii_lowercase) for word in corpus.vocabulary.words)
