"""A text as the ids of its words, made once and kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from mupi.checks import positive_int
from mupi.recipes.word2vec.text import Normalizer, words
from mupi.recipes.word2vec.vocabulary import Vocabulary, choose
from mupi.training.atomic import replacing

WORDS_AT_ONCE = 1 << 20

DIGESTS = "blake2b.txt"
"""Of the files of a kept corpus."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in the ids of its vocabulary; words outside of it are left out.

    Args:
        vocabulary: The words that were kept, most frequent first.
        ids: The text; of 16 bits where they are enough and it comes from the disk.
    """

    vocabulary: Vocabulary
    ids: Integer[Tensor, " words"]


class _Types(dict[str, int]):
    """The number of each word, which is given at its first appearance."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def encode(text: Iterator[str], min_count: int, max_vocabulary: int | None = None) -> Corpus:
    """Read a stream of words once, and make its vocabulary and ids.

    Args:
        text: The words; 4 bytes are held for each.
        min_count: Words that occur less often are left out.
        max_vocabulary: Only so many of the most frequent words are kept; None for no limit.

    Raises:
        ValueError: If fewer than two words remain.
    """
    types = _Types()
    parts = []
    # At the speed of C: the loop over the words is NumPy's, and the look-up the dictionary's.
    while len(part := np.fromiter(map(types.__getitem__, islice(text, WORDS_AT_ONCE)), np.int32)):
        parts.append(part)
    numbers = torch.from_numpy(np.concatenate(parts)) if parts else torch.empty(0, dtype=torch.int32)
    counts = torch.bincount(numbers, minlength=len(types))
    kept = choose(counts, min_count, max_vocabulary)
    id_of_type = torch.full((len(types),), -1, dtype=torch.int32)
    id_of_type[kept] = torch.arange(len(kept), dtype=torch.int32)
    ids = id_of_type[numbers]
    by_type = list(types)
    return Corpus(Vocabulary(tuple(by_type[i] for i in kept.tolist()), counts[kept]), ids[ids >= 0])


def load_corpus(
    path: Path,
    folder: Path,
    *,
    min_count: int,
    max_vocabulary: int | None = None,
    max_words: int | None = None,
    normalise: Normalizer | None = None,
    read: Callable[[int], None] | None = None,
) -> Corpus:
    """Return the corpus of a text file: from ``folder`` if it was made before, else made, and kept there.

    Args:
        path: The text, see `mupi.recipes.word2vec.text.words`.
        folder: Where corpora are kept, each in a folder of its own with ``vocabulary.txt`` and ``ids.npy``,
            and their digests, which are checked when they are read again. The folder's name depends on the file's name
            and contents and on all settings, so that none is mistaken, and may be taken to another machine.
        min_count: See `encode`.
        max_vocabulary: See `encode`.
        max_words: Only so many words of the text are read; None for all.
        normalise: See `mupi.recipes.word2vec.text.words`.
        read: See `mupi.recipes.word2vec.text.words`; not called if the corpus is there.

    Raises:
        FileNotFoundError: If there is no such text.
        ValueError: If the text or what was kept of it is damaged or too short, or a number is not positive.
    """
    if max_words is not None:
        positive_int("max_words", max_words)
    if not path.is_file():
        next(words(path))  # raises with what to do
    kept = folder / f"{path.name.split('.')[0]}-{_key(path, min_count, max_vocabulary, max_words, normalise)}"
    if not (kept / DIGESTS).exists():
        _save(encode(islice(words(path, normalise, read), max_words), min_count, max_vocabulary), kept)
    return _load(kept)


def _key(path: Path, *settings: object) -> str:
    named = [getattr(setting, "__name__", setting) for setting in settings]
    return hashlib.sha256(json.dumps([path.name, _digest(path), *named]).encode()).hexdigest()[:12]


def _load(kept: Path) -> Corpus:
    """What `_save` has written.

    Raises:
        ValueError: If it is anything else.
    """
    if (kept / DIGESTS).read_bytes() != _digests(kept):
        raise ValueError(f"`{kept}` is damaged or of another version; remove it to have it made again")
    # Copied on write, so that torch may hold it; nothing writes.
    ids = torch.from_numpy(np.load(kept / "ids.npy", mmap_mode="c"))
    return Corpus(Vocabulary.load(kept / "vocabulary.txt"), ids)


def _digests(kept: Path) -> bytes:
    """As `b2sum` writes and checks them; of a file that is missing, none."""
    files = [kept / name for name in ("vocabulary.txt", "ids.npy")]
    return "".join(f"{_digest(file)}  {file.name}\n" for file in files if file.is_file()).encode()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _save(corpus: Corpus, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    with replacing(kept / "vocabulary.txt") as partial:
        corpus.vocabulary.save(partial)
    ids = corpus.ids.numpy().astype(np.uint16 if len(corpus.vocabulary) <= 1 << 16 else np.int32)
    with replacing(kept / "ids.npy") as partial, partial.open("wb") as file:
        # Not np.save, which tells of a full disk without its errno.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(ids))
        file.write(ids.data)
    # Last: where it is, all is.
    with replacing(kept / DIGESTS) as partial:
        partial.write_bytes(_digests(kept))
