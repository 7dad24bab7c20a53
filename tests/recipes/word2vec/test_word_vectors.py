import struct

import numpy as np
import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.recipes.word2vec import analogies as module
from mupi.recipes.word2vec.analogies import Score, Section, load_questions, read_questions, score_analogies, total
from mupi.recipes.word2vec.word_vectors import WordVectors

WORDS = ("king", "queen", "man", "woman", "café", "zero")


def vectors(n: int = 5, seed: int = 0) -> WordVectors:
    values = randn(len(WORDS), n, seed=seed, dtype=torch.float32)
    values[-1] = 0
    return WordVectors(WORDS, values)


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_saved_is_loaded_bit_by_bit(tmp_path, binary):
    vectors().save(tmp_path / "v", binary=binary)
    loaded = WordVectors.load(tmp_path / "v", binary=binary)
    assert loaded.words == WORDS
    assert_equal(loaded.vectors, vectors().vectors)


def test_the_bytes_are_those_of_the_word2vec_program(tmp_path):
    small = WordVectors(("a", "bc"), torch.tensor([[1.0, -0.5], [0.25, 3.0]]))
    small.save(tmp_path / "v.bin", binary=True)
    expected = b"2 2\na " + struct.pack("<2f", 1, -0.5) + b"\nbc " + struct.pack("<2f", 0.25, 3) + b"\n"
    assert (tmp_path / "v.bin").read_bytes() == expected
    small.save(tmp_path / "v.txt", binary=False)
    assert (tmp_path / "v.txt").read_text() == "2 2\na 1.0 -0.5\nbc 0.25 3.0\n"


def test_rows_without_a_line_feed_and_lines_with_a_last_space_are_read(tmp_path):
    (tmp_path / "v.bin").write_bytes(b"2 1\na " + struct.pack("<f", 1) + b"bc " + struct.pack("<f", 2))
    assert WordVectors.load(tmp_path / "v.bin", binary=True).words == ("a", "bc")
    (tmp_path / "v.txt").write_bytes(b"2 1\na 1.0 \nbc 2.0 \n")
    assert WordVectors.load(tmp_path / "v.txt", binary=False).vectors.tolist() == [[1], [2]]


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_ours_and_we_read_gensim_s(tmp_path, binary):
    gensim = pytest.importorskip("gensim.models", reason="needs gensim: pip install 'mupi[gensim]'")
    vectors().save(tmp_path / "ours", binary=binary)
    theirs = gensim.KeyedVectors.load_word2vec_format(tmp_path / "ours", binary=binary)
    assert theirs.index_to_key == list(WORDS)
    assert_close(torch.from_numpy(theirs.vectors), vectors().vectors)
    theirs.save_word2vec_format(tmp_path / "theirs", binary=binary)
    assert_close(WordVectors.load(tmp_path / "theirs", binary=binary).vectors, vectors().vectors)
    with np.errstate(invalid="ignore"):  # gensim divides by the length of a vector that has none
        cosines = dict(theirs.most_similar(["king", "woman"], ["man"]))
    for word, cosine in vectors().nearest(["king", "woman"], ["man"]):
        assert word == "zero" or cosines[word] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize(
    "content, binary, message",
    [
        (b"hello world\n", True, "beginning with `V n`"),
        (b"3 2\na " + b"0" * 8, True, "must be at least 30 bytes for 3 × 2 numbers, one or more; got 14 bytes"),
        (b"2 2\na 1 2\nb 1\n", False, "v:3` must be a word and 2 numbers"),
        (b"2 2\na 1 2\nb 1 x\n", False, "v:3` must be a word and 2 numbers"),
    ],
)
def test_another_file_is_refused_with_what_is_wrong(tmp_path, content, binary, message):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordVectors.load(tmp_path / "v", binary=binary)


def test_missing_vectors_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="`.*none.bin` is missing"):
        WordVectors.load(tmp_path / "none.bin", binary=True)


def test_the_nearest_words_are_by_cosine_to_the_sum_of_directions_without_those_given():
    v = vectors()
    unit = v.vectors / v.vectors.norm(dim=1, keepdim=True).clamp(min=1e-30)
    target = unit[0] - unit[2] + unit[3]
    cosine = {w: float(unit[i] @ target / target.norm()) for i, w in enumerate(WORDS)}
    expected = sorted((w for w in WORDS if w not in ("king", "man", "woman")), key=lambda w: -cosine[w])
    nearest = v.nearest(["king", "woman"], ["man"])
    assert [w for w, _ in nearest] == expected
    assert all(c == pytest.approx(cosine[w], abs=1e-6) for w, c in nearest)


@pytest.mark.parametrize("words, message", [(["emperor"], "6 words of the vectors; got 'emperor'"), ([], "one word")])
def test_unknown_words_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        vectors().nearest(words)


def by_hand(v: WordVectors, question: tuple[str, ...]) -> bool:
    """3CosAdd as its definition says."""
    unit = {w: x / x.norm() for w, x in zip(v.words, v.vectors.double(), strict=True) if x.norm() > 0}
    a, b, c, d = question
    target = unit[b] - unit[a] + unit[c]
    return max((w for w in unit if w not in (a, b, c)), key=lambda w: float(unit[w] @ target)) == d


def test_analogies_are_scored_as_by_hand(monkeypatch):
    monkeypatch.setattr(module, "QUESTIONS_AT_ONCE", 7)
    names = tuple(f"w{i}" for i in range(12))
    v = WordVectors(names, randn(12, 3, dtype=torch.float32))
    order = torch.randperm(12 * 200, generator=seeded()).view(200, 12) % 12
    questions = tuple(tuple(names[i] for i in dict.fromkeys(row.tolist())) for row in order)
    questions = tuple(q[:4] for q in questions if len(q) >= 4)
    sections = (Section("first", questions[:50]), Section("second", (*questions[50:], ("w1", "w2", "w3", "other"))))
    scores = score_analogies(v, sections)
    assert [s.right for s in scores] == [sum(by_hand(v, q) for q in s.questions if "other" not in q) for s in sections]
    assert scores[1].seen == scores[1].asked - 1
    assert 0 < total(scores).right < total(scores).seen


def test_ties_and_vectors_of_length_zero_are_no_answers():
    """So it is at the start of the limit, where all words are orthogonal: its accuracy is zero, not luck."""
    section = Section("s", (("a", "b", "c", "d"), ("b", "a", "d", "c")))
    unit = WordVectors(("d", "c", "a", "b", "e"), torch.eye(5))
    assert score_analogies(unit, (section,)) == (Score("s", 0, 2, 2),)
    zero = WordVectors(("d", "c", "a", "b"), torch.zeros(4, 3))
    assert score_analogies(zero, (section,)) == (Score("s", 0, 2, 2),)


def test_a_section_without_known_words_has_accuracy_zero():
    score = score_analogies(vectors(), (Section("s", (("x", "y", "z", "w"),)),))[0]
    assert (score.right, score.seen, score.asked, score.accuracy) == (0, 0, 1, 0)


def test_questions_are_read_by_section_whatever_their_case(tmp_path):
    (tmp_path / "questions-words.txt").write_text(": family\nBoy girl King QUEEN\n\n: empty\n: more\na b c d\n")
    sections = load_questions(tmp_path)
    assert sections == (
        Section("family", (("boy", "girl", "king", "queen"),)),
        Section("more", (("a", "b", "c", "d"),)),
    )
    (tmp_path / "questions-words.txt").write_text(": family\nboy girl king\n")
    with pytest.raises(ValueError, match=r"questions-words.txt:2` must be `: name` or four words"):
        read_questions(tmp_path / "questions-words.txt")


def test_missing_questions_say_where_they_were_looked_for(tmp_path, monkeypatch):
    def offline(*args: object, **kwargs: object):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(FileNotFoundError, match=r"questions-words.txt.*no network.*--data-dir") as raised:
        load_questions(tmp_path)
    assert "\n" not in str(raised.value)
