"""The words that are learnt, with their counts, and the two distributions of Word2Vec made from them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from mupi.checks import fail, positive_int

NOISE_POWER = 0.75


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words by falling count, those of equal count in the order of their first appearance.

    Args:
        words: V of them; a word's id is its place.
        counts: How often each occurs in the text.
    """

    words: tuple[str, ...]
    counts: Int64[Tensor, " V"]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def kept_share(self, threshold: float) -> Float64[Tensor, " V"]:
        """The probability that subsampling keeps an occurrence: min(1, √(t/p) + t/p), p the word's share of the text.

        Args:
            threshold: t; 0 keeps all.
        """
        if threshold == 0:
            return torch.ones(len(self), dtype=torch.float64)
        ratio = threshold * self.counts.sum() / self.counts.double()
        return (ratio.sqrt() + ratio).clamp(max=1)

    def noise(self) -> Float64[Tensor, " V"]:
        """The probability of each word as a negative: ∝ count^0.75."""
        weights = self.counts.double() ** NOISE_POWER
        return weights / weights.sum()

    def save(self, path: Path) -> None:
        """Write one ``word count`` a line, as the word2vec program does."""
        lines = (f"{word} {count}\n" for word, count in zip(self.words, self.counts.tolist(), strict=True))
        path.write_text("".join(lines), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` has written.

        Raises:
            ValueError: If a line is no word and count, or the file no text.
        """
        words, counts = [], []
        # A byte that is not UTF-8 becomes a �, and its line no word that was saved.
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            word, _, count = line.rpartition(" ")
            if not (word and count.isdecimal() and len(count) < 19):
                fail(f"{path}:{number}", "`word count`", repr(line), "remove the file to have it made again")
            words.append(word)
            counts.append(int(count))
        return cls(tuple(words), torch.tensor(counts, dtype=torch.int64))


def choose(counts: Int64[Tensor, " types"], min_count: int, max_size: int | None) -> Int64[Tensor, " V"]:
    """The types that make the vocabulary, by falling count, ties in their order.

    Args:
        counts: How often each type of word is in the text.
        min_count: Rarer ones are left out.
        max_size: Only so many of the most frequent are kept; None for no limit.

    Raises:
        ValueError: If fewer than two remain.
    """
    positive_int("min_count", min_count)
    if max_size is not None:
        positive_int("max_vocabulary", max_size)
    order = torch.sort(counts, descending=True, stable=True).indices
    kept = order[: int((counts >= min_count).sum())][:max_size]
    if len(kept) < 2:
        fail("min_count", "so low that two words or more remain", f"{min_count} and {len(kept)} words")
    return kept
