"""From a text to steps: subsampling, radii and negatives, which each passage draws for itself."""

import hashlib

import torch
from jaxtyping import Int64
from torch import Tensor

from mupi.recipes.word2vec.corpus import Corpus
from mupi.recipes.word2vec.passage import Passage

PASSAGE = 50_000
"""Words of the text that are sampled together; contexts end with a passage, and a run can stop between two."""


class Sampling:
    """How a text is made into steps.

    What a passage draws depends on the seed, the epoch and its place alone: a run goes on from any passage as if it
    had never stopped.

    Args:
        corpus: The text to sample from.
        window: Radii are drawn from 1 to this.
        subsampling: The threshold t of `Vocabulary.kept_share`.
        batch_size: Positions a step.
        shared_negatives: Negatives a step.
        seed: Of everything that is drawn.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        window: int,
        subsampling: float,
        batch_size: int,
        shared_negatives: int,
        seed: int,
    ):
        self.ids = corpus.ids
        self.window = window
        self.batch_size = batch_size
        self.shared_negatives = shared_negatives
        self.seed = seed
        self.kept_share = corpus.vocabulary.kept_share(subsampling)
        self.cumulated_noise = corpus.vocabulary.noise().cumsum(0)

    @property
    def passages(self) -> int:
        """How many the text has."""
        return -(-len(self.ids) // PASSAGE)

    def words_before(self, passage: int) -> int:
        """How many words of the text come before a passage."""
        return min(passage * PASSAGE, len(self.ids))

    def passage(self, epoch: int, number: int) -> Passage:
        """A passage as it is trained on in an epoch."""
        generator = self._generator(epoch, number)
        ids = self.ids[number * PASSAGE : (number + 1) * PASSAGE].long()
        words = ids[torch.rand(len(ids), generator=generator, dtype=torch.float64) < self.kept_share[ids]]
        radius = torch.randint(1, self.window + 1, words.shape, generator=generator)
        negatives = self._draw_negatives(-(-len(words) // self.batch_size), generator)
        return Passage(words, radius, negatives, len(self.kept_share), self.batch_size, self.window)

    def _draw_negatives(self, batches: int, generator: torch.Generator) -> Int64[Tensor, "batches S"]:
        uniform = torch.rand(batches, self.shared_negatives, generator=generator, dtype=torch.float64)
        # Rounding may leave the last sum below one.
        return torch.searchsorted(self.cumulated_noise, uniform).clamp(max=len(self.cumulated_noise) - 1)

    def _generator(self, epoch: int, passage: int) -> torch.Generator:
        """One whose numbers have nothing to do with those of any other seed, epoch or passage."""
        digest = hashlib.sha256(f"{self.seed} {epoch} {passage}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:4]))
