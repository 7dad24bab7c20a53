"""Vectors of words, and which words are near: in the text and binary formats of the word2vec program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail, positive_int

ROWS_AT_ONCE = 256

LONGEST_WORD = 1 << 14
"""Bytes."""

LONGEST_NUMBER = 64
"""Bytes of a number as text."""


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A vector for each word; what gensim calls KeyedVectors.

    Args:
        words: Those that are frequent first, by convention.
        vectors: One row a word.
    """

    words: tuple[str, ...]
    vectors: Float[Tensor, "V n"]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The row of each word; of a word that is there twice the first, as gensim has it."""
        return {word: i for i, word in reversed(list(enumerate(self.words)))}

    @cached_property
    def directions(self) -> Float[Tensor, "V n"]:
        """The vectors at length one, float32; those of length zero stay."""
        vectors = self.vectors.float()
        return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)

    def nearest(
        self, positive: Sequence[str], negative: Sequence[str] = (), count: int = 10
    ) -> list[tuple[str, float]]:
        """The words whose directions are nearest to a sum of directions, with cosines; those given are left out.

        Args:
            positive: Words whose directions are added.
            negative: Words whose directions are subtracted: of king and woman less man, queen is nearest.
            count: How many to return.

        Raises:
            ValueError: If a word is not known, or there is none.
        """
        positive_int("count", count)
        if not positive:
            fail("words", "one word or more", "none")
        given = [self._row(word) for word in (*positive, *negative)]
        sign = torch.tensor([1.0] * len(positive) + [-1.0] * len(negative))
        target = sign @ self.directions[given]
        cosines = self.directions @ (target / target.norm().clamp(min=torch.finfo(torch.float32).tiny))
        cosines[given] = -torch.inf
        best = cosines.topk(min(count, len(self) - len(set(given))))
        return [(self.words[i], cosine) for i, cosine in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def save(self, path: Path, *, binary: bool) -> None:
        """Write the word2vec format: ``V n``, then a line for each word, with its numbers as text or float32 bytes.

        gensim reads it by ``KeyedVectors.load_word2vec_format(path, binary=...)``.
        """
        with path.open("wb") as file:
            file.write(f"{len(self)} {self.vectors.shape[1]}\n".encode())
            for start in range(0, len(self), ROWS_AT_ONCE):
                rows = self.vectors[start : start + ROWS_AT_ONCE].float().cpu().numpy()
                for word, row in zip(self.words[start : start + ROWS_AT_ONCE], rows, strict=True):
                    numbers = row.astype("<f4").tobytes() if binary else " ".join(map(str, row.tolist())).encode()
                    file.write(f"{word} ".encode() + numbers + b"\n")

    @classmethod
    def load(cls, path: Path, *, binary: bool) -> "WordVectors":
        """Read what `save`, the word2vec program or gensim has written.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is of another format, or cut off, or has a number that is not finite.
        """
        if not path.is_file():
            raise FileNotFoundError(f"`{path}` is missing; name a file of word vectors, such as `mupi word2vec` writes")
        with path.open("rb") as file:
            first = file.readline(100).split()
            if len(first) != 2 or not all(number.isdigit() for number in first):
                fail(str(path), "a file of word vectors, beginning with `V n`", repr(b" ".join(first)[:40]))
            count, n = map(int, first)
            # A word and a space, then numbers: so much is there at least, or the first line is not to be believed.
            least, size = count * (2 + (4 if binary else 2) * n), path.stat().st_size
            if count < 1 or n < 1 or size < least:
                fail(
                    str(path), f"at least {least:,} bytes for {count:,} × {n:,} numbers, one or more", f"{size:,} bytes"
                )
            vectors = np.empty((count, n), dtype=np.float32)
            words = []
            for i, (word, row) in enumerate((_read_binary if binary else _read_text)(file, path, count, n)):
                if not np.isfinite(row).all():
                    fail(f"{path}:{i + 2}", "finite numbers", f"the word {word!r} with NaN or infinite ones")
                words.append(word)
                vectors[i] = row
            if file.read(1000).strip():
                fail(str(path), f"of {count:,} words, as its first line says", "more after them")
        return cls(tuple(words), torch.from_numpy(vectors))

    def _row(self, word: str) -> int:
        if word not in self.ids:
            fail("words", f"among the {len(self):,} words of the vectors", repr(word))
        return self.ids[word]


def _read_text(file: IO[bytes], path: Path, count: int, n: int) -> Iterator[tuple[str, np.ndarray]]:
    for number in range(2, count + 2):
        fields = file.readline(LONGEST_WORD + LONGEST_NUMBER * n).rstrip(b" \r\n").rsplit(b" ", n)
        try:
            # Beyond float32 is infinite, which the caller refuses.
            with np.errstate(over="ignore"):
                row = np.array(fields[1:], dtype=np.float64).astype(np.float32)
        except ValueError:
            row = np.empty(0)
        if len(row) != n:
            fail(f"{path}:{number}", f"a word and {n} numbers", "another line", "a binary file? then say so")
        yield fields[0].decode(errors="replace"), row


def _read_binary(file: IO[bytes], path: Path, count: int, n: int) -> Iterator[tuple[str, np.ndarray]]:
    for number in range(1, count + 1):
        word = bytearray()
        # The program ends a row with a line feed, some others do not: it is taken off the next word.
        while (byte := file.read(1)) not in (b" ", b"") and len(word) <= LONGEST_WORD:
            word += byte
        if len(word) > LONGEST_WORD:
            fail(str(path), f"of words of at most {LONGEST_WORD:,} bytes", "a longer one", "a text file? then say so")
        numbers = file.read(4 * n)
        # Numbers that are all figures: the bytes of text, which now and then are as many as those of floats.
        if number == 1 and not numbers.strip(b"0123456789+-.eE \r\n"):
            fail(str(path), "binary", "numbers as text", "then say so")
        if len(numbers) < 4 * n:
            fail(str(path), f"{count} words long", f"{number - 1} whole ones", "a text file? then say so")
        yield word.lstrip(b"\n").decode(errors="replace"), np.frombuffer(numbers, "<f4")
