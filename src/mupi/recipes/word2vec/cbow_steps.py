"""What the steps of CBOW on a passage need beside the vectors, made for all of them at once."""

import math
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mupi.recipes.word2vec.passage import Passage
from mupi.recipes.word2vec.scaled_rows import ScaledRows, sums_of_repeats


class Steps(NamedTuple):
    """Tensors whose first axis K is that of the steps of a passage.

    See `mupi.recipes.word2vec.passage` for P, B, S and b.

    Args:
        places: The words that a step reads.
        centres: The words at its positions.
        negatives: Its negatives, each once.
        mean: The matrix from the stored vectors of `places` to h, in blocks.
        mean_transposed: −η times the matrix from ∂loss/∂h to the gradient in the stored vectors, in blocks.
        center_scale: Of the centres' output vectors.
        center_pull: −scale.
        center_rate: η/scale.
        negative_scale: Of the negatives' output vectors.
        weight: How much a negative counts for a position.
        center_score: To be filled with ⟨h, N_c⟩.
        negative_score: To be filled with ⟨h, N_v⟩.
        centers_once: The centres whose rows are changed, and
        center_sums: what they are changed by in terms of the changes of `centres`; None for these changes themselves.
        places_once: The same for `places`.
        place_sums: The same for `places`.
    """

    places: Int64[Tensor, "K P"]
    centers: Int64[Tensor, "K B"]
    negatives: Int64[Tensor, "K S"]
    mean: Float[Tensor, "K rows b reach"]
    mean_transposed: Float[Tensor, "K columns b reach"]
    center_scale: Float[Tensor, "K B"]
    center_pull: Float[Tensor, "K B"]
    center_rate: Float[Tensor, "K B"]
    negative_scale: Float[Tensor, "K S"]
    weight: Float[Tensor, "K B S"]
    center_score: Float[Tensor, "K B"]
    negative_score: Float[Tensor, "K B S"]
    centers_once: Int64[Tensor, "K B"]
    center_sums: Float[Tensor, "K B B"] | None
    places_once: Int64[Tensor, "K P"]
    place_sums: Float[Tensor, "K P P"] | None

    def each(self) -> Iterator["Steps"]:
        """The steps one by one, without the first axis."""
        return map(Steps._make, zip(*(repeat(None) if x is None else x.unbind() for x in self), strict=False))


def prepare(
    passage: Passage, inputs: ScaledRows, outputs: ScaledRows, *, K: int, lr: float, weight_decay: float
) -> Steps:
    """The steps of a passage; the scales of both matrices are multiplied as all of them together do it.

    Args:
        passage: On the device of the matrices.
        inputs: The input vectors U.
        outputs: The output vectors N.
        K: Negatives that a position is to have; each of the S that a step shares weighs K/S.
        lr: Learning rate η.
        weight_decay: Each use of a row, in a score or a context, multiplies it by 1 − lr·weight_decay.
    """
    places, centers, negatives = passage.places, passage.centers, passage.distinct_negatives
    shared, dtype, spare = passage.shared, inputs.dtype, passage.vocabulary
    # Scales depend on the number of uses alone, known in advance; of outputs in units of 1/S, to be whole numbers.
    decay = math.log1p(-lr * weight_decay)
    place_scale = inputs.shrink(places, passage.uses(), decay)
    uses = torch.cat([shared * passage.real, K * passage.times_drawn * passage.counts.sum(1)], 1)
    scale = outputs.shrink(torch.cat([centers, negatives], 1), uses, decay / shared)
    center_scale, negative_scale = scale.split([passage.batch_size, shared], 1)

    weight = passage.counts * (passage.times_drawn.to(dtype) * (K / shared))[:, None, :]
    repeats = (centers, None, places, None)
    if not inputs.adds_repeats:
        repeats = (*sums_of_repeats(centers, spare, dtype), *sums_of_repeats(places, spare, dtype))
    return Steps(
        places,
        centers,
        negatives,
        passage.mean(place_scale),
        passage.mean_transposed(-lr / place_scale),
        center_scale,
        -center_scale,
        lr / center_scale,
        negative_scale,
        weight,
        torch.empty_like(center_scale),
        torch.empty_like(weight),
        *repeats,
    )
