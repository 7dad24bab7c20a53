"""A stretch of text as steps of SGD: which words each step reads and how they weigh, for all steps at once.

Nothing here depends on the vectors, so that it is a few operations on whole tensors for each passage rather than many
for each step. Shapes do not depend on the words, so that a GPU is never waited for.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

LARGEST_BLOCK = 8
"""Rows of a band that are multiplied together: measured to be fastest for bands of 17 columns."""


@dataclass(frozen=True, eq=False)
class Passage:
    """Consecutive positions of a text, B in each of K steps, with S negatives that the positions of a step share.

    Every word is the centre of a position, and contexts end with the passage. The last step may be filled up: where
    there is no word, `places` and `centres` name word V, which is none.

    Args:
        words: The numbers of the text's words.
        radius: How far the context of each position goes to both sides.
        negatives: Words drawn from the noise distribution, for each step.
        vocabulary: Size V of the vocabulary.
        batch_size: Positions B a step.
        window: The largest radius that is drawn, w.
    """

    words: Int64[Tensor, " words"]
    radius: Int64[Tensor, " words"]
    negatives: Int64[Tensor, "K S"]
    vocabulary: int
    batch_size: int
    window: int

    def to(self, device: torch.device | str) -> "Passage":
        """The same, on another device."""
        words, radius, negatives = (x.to(device) for x in (self.words, self.radius, self.negatives))
        return replace(self, words=words, radius=radius, negatives=negatives)

    @property
    def steps(self) -> int:
        """K."""
        return -(-len(self.words) // self.batch_size)

    @property
    def places_a_step(self) -> int:
        """P = B + 2w: the positions of a step and w words to both sides."""
        return self.batch_size + 2 * self.window

    @property
    def positions_in_reach(self) -> int:
        """B + 4w: of all places that a step reads."""
        return self.batch_size + 4 * self.window

    @property
    def block(self) -> int:
        """b, which divides B and P: the rows of a band that are multiplied together."""
        return math.gcd(LARGEST_BLOCK, self.batch_size, 2 * self.window)

    @cached_property
    def places(self) -> Int64[Tensor, "K P"]:
        """The words that each step reads: those of its positions and their contexts."""
        return self._windows(self._filled(self.words, self.vocabulary, self.window))

    @cached_property
    def centers(self) -> Int64[Tensor, "K B"]:
        """The words at the positions of each step."""
        return self._filled(self.words, self.vocabulary).view(-1, self.batch_size)

    @cached_property
    def real(self) -> Bool[Tensor, "K B"]:
        """Which positions there are."""
        return self.centers < self.vocabulary

    @property
    def shared(self) -> int:
        """S."""
        return self.negatives.shape[1]

    @cached_property
    def distinct_negatives(self) -> Int64[Tensor, "K S"]:
        """Each step's negatives in order, with word V for those that repeat."""
        return self._ordered.masked_fill(self._repeats, self.vocabulary)

    @cached_property
    def times_drawn(self) -> Int64[Tensor, "K S"]:
        """How often each of `distinct_negatives` was drawn; 0 for word V."""
        place = torch.arange(self.shared, device=self.negatives.device)
        times = torch.searchsorted(self._ordered, self._ordered, right=True) - place
        return times.masked_fill(self._repeats, 0)

    @cached_property
    def counts(self) -> Bool[Tensor, "K B S"]:
        """Which negatives count for which position: all but the centre itself."""
        differ = self.centers[:, :, None] != self.distinct_negatives[:, None, :]
        return differ & self.real[:, :, None] & ~self._repeats[:, None, :]

    @cached_property
    def context(self) -> Bool[Tensor, "K rows b reach"]:
        """The band "place j is in the context of position i" by blocks of b rows, each of b + 2w columns of places."""
        radius = self._filled(self.radius, 0).view(self.steps, -1, self.block, 1)
        return self._near(radius) & (self._blocks(self.places) < self.vocabulary)[:, :, None, :]

    @cached_property
    def context_transposed(self) -> Bool[Tensor, "K columns b reach"]:
        """The transposed band by blocks of b places, each of b + 2w positions, of which 2w may lie before the first."""
        there = (self.places < self.vocabulary).view(self.steps, -1, self.block, 1)
        return self._near(self._blocks_of_positions(self._filled(self.radius, 0))[:, :, None, :]) & there

    @cached_property
    def share(self) -> Float64[Tensor, "K B"]:
        """One over the number of words in each position's context; 0 without any."""
        place = torch.arange(len(self.words), device=self.words.device)
        size = torch.minimum(place, self.radius) + torch.minimum(len(self.words) - 1 - place, self.radius)
        share = (size > 0) / size.clamp(min=1).double()
        return self._filled(share, 0).view(-1, self.batch_size)

    def mean(self, scale: Float[Tensor, "K P"]) -> Float[Tensor, "K rows b reach"]:
        """The matrix of h = A u, u the stored vectors of `places`, in blocks: A_ij = share_i · scale_j · context_ij."""
        share = self.share.view(self.steps, -1, self.block, 1).to(scale.dtype)
        return self.context * share * self._blocks(scale)[:, :, None, :]

    def mean_transposed(self, scale: Float[Tensor, "K P"]) -> Float[Tensor, "K columns b reach"]:
        """The transposed matrix Aᵀ, in blocks."""
        share = self._blocks_of_positions(self.share.flatten().to(scale.dtype))[:, :, None, :]
        return self.context_transposed * share * scale.view(self.steps, -1, self.block, 1)

    def uses(self) -> Int64[Tensor, "K P"]:
        """In how many contexts of a step each place is."""
        return self.context_transposed.sum(-1).view(self.steps, -1)

    def first_step(self, place: Int64[Tensor, " places"]) -> Int64[Tensor, " places"]:
        """The first step that reads each of some words of the text, given by their places in it."""
        return ((place - self.batch_size - self.window) // self.batch_size + 1).clamp(min=0)

    @cached_property
    def _ordered(self) -> Int64[Tensor, "K S"]:
        return self.negatives.sort(dim=1).values

    @cached_property
    def _repeats(self) -> Bool[Tensor, "K S"]:
        return torch.nn.functional.pad(self._ordered[:, 1:] == self._ordered[:, :-1], (1, 0))

    def _filled(self, x: Tensor, value: int, sides: int = 0) -> Tensor:
        """Up to a whole number of steps, and ``sides`` more on both sides."""
        missing = self.steps * self.batch_size - len(x)
        return torch.nn.functional.pad(x, (sides, missing + sides), value=value)

    def _windows(self, x: Tensor) -> Tensor:
        return x.unfold(0, self.places_a_step, self.batch_size)

    def _blocks(self, x: Tensor) -> Tensor:
        """For each block of b positions of a step, the b + 2w places in reach."""
        return x.unfold(1, self.block + 2 * self.window, self.block)

    def _blocks_of_positions(self, x: Tensor) -> Tensor:
        """For each block of b places of a step, the b + 2w positions in reach."""
        within = x.view(self.steps, self.batch_size)
        return self._blocks(torch.nn.functional.pad(within, (2 * self.window, 2 * self.window)))

    def _near(self, radius: Tensor) -> Tensor:
        """Whether 0 < distance ≤ radius, for row and column of a block; both transposes have the same distances."""
        row = torch.arange(self.block, device=radius.device)[:, None]
        column = torch.arange(self.block + 2 * self.window, device=radius.device)
        distance = (column - row - self.window).abs()
        return (distance <= radius) & (distance > 0)
