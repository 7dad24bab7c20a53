"""CBOW with negative sampling (Mikolov et al. 2013) at finite widths and in the μ-limit (Yang & Hu 2021, section 6).

Every word has an input vector U_w and an output vector N_w. For a position with centre c and context w_1 … w_k,

    h = (U_{w_1} + … + U_{w_k}) / k,    loss = softplus(−⟨h, N_c⟩) + Σ_{negatives v ≠ c} softplus(⟨h, N_v⟩),

and SGD changes both matrices. Width n in μP is U_0 ~ N(0, 1/n), N_0 = 0, learning rate η, whatever n is.

**The limit needs V coordinates.** By induction all rows of U − U_0 and N are combinations of rows of U_0: at first
they are zero; the gradients in N_v are multiples of h, a mean of rows of U, those in U_w multiples of rows of N; and
weight decay multiplies rows by numbers. The coefficients depend on the scores ⟨h, N_v⟩, so on U_0 only through its
Gram matrix U_0U_0ᵀ. As n → ∞ that tends to I, the Gram matrix of U_0 = I in V dimensions: training this, V numbers a
word, gives the limit's scores and the scalar products of its vectors at every step. The theorem's limit carries V
more, for the N_0 that is independent of U_0; with N_0 = 0 they stay zero.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import softplus

from mupi.checks import positive_int
from mupi.nets.banded import banded_product, banded_transpose_product, runs
from mupi.nets.embedding_start import DenseStart, Start, UnitVectors
from mupi.nets.scaled_rows import ScaledRows


@dataclass(frozen=True, eq=False)
class Positions:
    """B consecutive positions of a text, with negatives that they share.

    Args:
        words: The text from some words before the first position to some after the last; contexts end with it.
        first: Place of the first position in ``words``.
        radius: How far the context of each position goes to both sides.
        negatives: S words drawn from the noise distribution.
        window: The largest radius that is drawn.
    """

    words: Int64[Tensor, " places"]
    first: int
    radius: Int64[Tensor, " B"]
    negatives: Int64[Tensor, " S"]
    window: int

    @property
    def centres(self) -> Int64[Tensor, " B"]:
        """The words at the positions."""
        return self.words[self.first : self.first + len(self.radius)]

    def contexts(self) -> Bool[Tensor, "B places"]:
        """Which places are the context of which position."""
        places = torch.arange(len(self.words), device=self.words.device)
        distance = (places - places[self.first : self.first + len(self.radius), None]).abs()
        return (distance <= self.radius[:, None]) & (distance > 0)


class CBOW:
    """Input and output vectors in training; the module's docstring has the formulas.

    A step is SGD on the sum of the losses of B positions. With S shared negatives, each weighs K/S for each position,
    K being the number of negatives a position is to have: the expected gradient is that of K negatives for each
    position alone. B = 1 and S = K is SGD position by position.

    Gradients are taken at the vectors before the step, but for the negatives' vectors, which move after every `RUN`
    positions: a frequent word is a negative of every position, and B gradients at once would overshoot (with B = 64
    and η = 0.05 training diverged within an epoch).

    Coordinates are given to words as they are first met, so that all vectors are zero beyond the first ``active``
    ones; nothing is computed or stored there.

    Args:
        vocabulary: V.
        start: `Gaussian(n)`, `Orthonormal(n)`, or `UnitVectors()`, the limit.
        negatives: K.
        dtype: What is stored: float64, float32, or bfloat16, which is computed with as float32.
        generator: Draws U_0.
        device: Where.
    """

    def __init__(
        self,
        vocabulary: int,
        start: Start,
        *,
        negatives: int = 25,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ):
        self.vocabulary = positive_int("CBOW(vocabulary=...)", vocabulary)
        self.negatives = positive_int("CBOW(negatives=...)", negatives)
        self.start = start
        columns = start.columns(vocabulary)
        self.inputs = ScaledRows(vocabulary, columns, dtype, device)
        self.outputs = ScaledRows(vocabulary, columns, dtype, device)
        # Which coordinate a word's unit vector has: −1 for none yet, or none at all.
        self.coordinate = torch.full((vocabulary,), -1, device=device)
        self.active = 0
        if isinstance(start, DenseStart):
            generator = torch.Generator().manual_seed(0) if generator is None else generator
            self.inputs.fill(start.draw(vocabulary, generator, self.inputs.dtype))
            self.active = columns

    @torch.no_grad()
    def step(self, positions: Positions, lr: float, weight_decay: float = 0.0) -> float:
        """Take a step of SGD; then each use of a row, in a score or a context, multiplies it by 1 − lr·weight_decay.

        Args:
            positions: What to train on; changed are the rows of its words.
            lr: η.
            weight_decay: Of both matrices.

        Returns:
            The sum of the positions' losses before the step.
        """
        words, centres = positions.words, positions.centres
        negatives, times_drawn = positions.negatives.unique(return_counts=True)
        self._give_coordinates(words)
        in_context = positions.contexts()
        u, u_scale = self.inputs.read(words, self.active)
        n_centre, centre_scale = self.outputs.read(centres, self.active)
        n_negative, negative_scale = self.outputs.read(negatives, self.active)
        mean = in_context / in_context.sum(1, keepdim=True).clamp(min=1).to(u.dtype)
        # A negative that is the centre does not count.
        weight = times_drawn.to(u.dtype) * (self.negatives / len(positions.negatives))
        weight = weight * (centres[:, None] != negatives)
        band = (positions.first, positions.window)

        h = banded_product(mean * u_scale, u, *band)
        centre_score = torch.linalg.vecdot(h, n_centre) * centre_scale
        centre_slope = -torch.sigmoid(-centre_score)  # ∂loss/∂score
        δ = n_centre.mul_((centre_slope * centre_scale)[:, None])  # ∂loss/∂h
        negative_score = torch.empty_like(weight)
        for run in runs(len(centres)):
            negative_score[run] = score = (h[run] @ n_negative.T).mul_(negative_scale)
            slope = score.sigmoid_().mul_(weight[run])
            δ[run].addmm_(slope * negative_scale, n_negative)
            n_negative.addmm_((slope * (-lr / negative_scale)).T, h[run])
        loss = softplus(-centre_score).sum() + (softplus(negative_score) * weight).sum()

        self.outputs.write(negatives, n_negative)
        self.outputs.add(centres, h * (centre_slope * (-lr / centre_scale))[:, None])
        self.inputs.add(words, banded_transpose_product(mean * (-lr / u_scale), δ, *band))
        decay = math.log1p(-lr * weight_decay)
        self.inputs.shrink(words, decay * in_context.sum(0).double())
        self.outputs.shrink(centres, torch.full_like(centre_score, decay, dtype=torch.float64))
        self.outputs.shrink(negatives, decay * weight.sum(0).double())
        return float(loss)

    def vectors(self) -> Float[Tensor, "V columns"]:
        """U, the word vectors, in the coordinates in use; of a word never met in the limit, zero.

        Such a word's own coordinate, in which no other vector has an entry, is left out: its cosine with every
        other word is zero either way.
        """
        return self.inputs.dense(self.active)

    def output_vectors(self) -> Float[Tensor, "V columns"]:
        """N, in the same coordinates."""
        return self.outputs.dense(self.active)

    def renormalise(self) -> None:
        """Multiply small scales into their rows; to be called now and then, in each million positions say."""
        self.inputs.renormalise()
        self.outputs.renormalise()

    def state_dict(self) -> dict[str, Tensor | int]:
        """All that later steps depend on; the tensors are not copied."""
        return {
            "inputs": self.inputs.table,
            "inputs_log_scale": self.inputs.log_scale,
            "inputs_rounding": self.inputs.generator.get_state(),
            "outputs": self.outputs.table,
            "outputs_log_scale": self.outputs.log_scale,
            "outputs_rounding": self.outputs.generator.get_state(),
            "coordinate": self.coordinate,
            "active": self.active,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """The inverse of `state_dict`, into vectors of the same sizes."""
        for name, rows in (("inputs", self.inputs), ("outputs", self.outputs)):
            rows.table.copy_(state[name])  # pyright: ignore[reportArgumentType]
            rows.log_scale.copy_(state[f"{name}_log_scale"])  # pyright: ignore[reportArgumentType]
            rows.generator.set_state(state[f"{name}_rounding"])  # pyright: ignore[reportArgumentType]
        self.coordinate.copy_(state["coordinate"])  # pyright: ignore[reportArgumentType]
        self.active = int(state["active"])

    def _give_coordinates(self, words: Int64[Tensor, " places"]) -> None:
        """A unit vector for each word that has one coming and is met for the first time."""
        if not isinstance(self.start, UnitVectors) or self.active == self.inputs.columns:
            return
        # The vocabulary is sorted by count: the leading words are those of the first ids.
        new = words[(self.coordinate[words] < 0) & (words < self.inputs.columns)].unique()
        self.coordinate[new] = torch.arange(self.active, self.active + len(new), device=words.device)
        self.inputs.set_one(new, self.coordinate[new])
        self.active += len(new)


def state_bytes(vocabulary: int, start: Start, dtype: torch.dtype) -> int:
    """What both matrices take when all rows and coordinates are in use."""
    return 2 * vocabulary * start.columns(vocabulary) * dtype.itemsize
