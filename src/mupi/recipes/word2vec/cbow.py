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

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from mupi.checks import positive_int
from mupi.recipes.word2vec.banded import banded_product
from mupi.recipes.word2vec.cbow_steps import Steps, prepare
from mupi.recipes.word2vec.embedding_start import DenseStart, Start, UnitVectors
from mupi.recipes.word2vec.passage import Passage
from mupi.recipes.word2vec.scaled_rows import ScaledRows, stored_bytes

RUN = 16
"""Positions between two moves of the negatives' vectors."""


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
        vocabulary: Size V of the vocabulary.
        start: `Gaussian(n)`, `Orthonormal(n)`, or `UnitVectors()`, the limit.
        negatives: How many negatives K a position is to have.
        dtype: What is stored: float64, float32, or bfloat16, which is computed with as float32.
        generator: Draws U_0.
        device: The device of the vectors.
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
        self.device = torch.device(device)
        columns = start.columns(vocabulary)
        self.inputs = ScaledRows(vocabulary, columns, dtype, device)
        self.outputs = ScaledRows(vocabulary, columns, dtype, device)
        # Which coordinate a word's unit vector has: −1 for none yet.
        self.coordinate = torch.full((vocabulary,), -1)
        self.active = 0
        if isinstance(start, DenseStart):
            generator = torch.Generator().manual_seed(0) if generator is None else generator
            self.inputs.fill(start.draw(vocabulary, generator, self.inputs.dtype))
            self.active = columns

    @torch.no_grad()
    def train(self, passage: Passage, lr: float, weight_decay: float = 0.0) -> float:
        """Take the steps of a passage.

        Each use of a row, in a score or a context, multiplies it by 1 − lr·weight_decay.

        Args:
            passage: What to train on; changed are the rows of its words.
            lr: Learning rate η.
            weight_decay: Weight decay of both matrices.

        Returns:
            The sum of the positions' losses, each before its step.
        """
        if not passage.steps:
            return 0.0
        active = self._give_coordinates(passage)
        passage = passage.to(self.device)
        steps = prepare(passage, self.inputs, self.outputs, K=self.negatives, lr=lr, weight_decay=weight_decay)
        δ_in_zeros = steps.weight.new_zeros(passage.positions_in_reach, self.inputs.padded(active[0]))
        for columns, step in zip(active, steps.each(), strict=True):
            if δ_in_zeros.shape[1] != self.inputs.padded(columns):
                δ_in_zeros = steps.weight.new_zeros(passage.positions_in_reach, self.inputs.padded(columns))
            self._step(step, lr, δ_in_zeros)
        loss = softplus(-steps.center_score).mul_(passage.real).sum()
        return float(loss + torch.dot(softplus(steps.negative_score).view(-1), steps.weight.view(-1)))

    def _step(self, step: Steps, lr: float, δ_in_zeros: Float[Tensor, "positions columns"]) -> None:
        """One step, in the first columns. It fills in the step's scores, and ∂loss/∂h in the midst of zeros.

        Nothing in it waits for the device.
        """
        inputs, outputs, columns = self.inputs, self.outputs, δ_in_zeros.shape[1]
        n_center = outputs.read(outputs.locate(step.centers, columns), columns)
        at_negatives = outputs.locate(step.negatives, columns)
        n_negative = outputs.read(at_negatives, columns).mul_(step.negative_scale[:, None])
        h = banded_product(step.mean, inputs.read(inputs.locate(step.places, columns), columns))

        torch.linalg.vecdot(h, n_center, out=step.center_score)
        miss = torch.sigmoid(-step.center_score.mul_(step.center_scale))  # −∂loss/∂score
        margin = (len(δ_in_zeros) - len(h)) // 2
        δ = δ_in_zeros[margin : margin + len(h)]
        torch.mul(n_center, (miss * step.center_pull)[:, None], out=δ)
        runs = (x.split(RUN) for x in (h, δ, step.negative_score, step.weight))
        for h_run, δ_run, score, weight in zip(*runs, strict=True):
            torch.mm(h_run, n_negative.T, out=score)
            slope = torch.sigmoid(score).mul_(weight)  # ∂loss/∂score
            δ_run.addmm_(slope, n_negative)
            n_negative.addmm_(slope.T, h_run, alpha=-lr)

        outputs.write(at_negatives, n_negative.div_(step.negative_scale[:, None]))
        n_change = h.mul_((miss * step.center_rate)[:, None])
        u_change = banded_product(step.mean_transposed, δ_in_zeros)
        _add(outputs, step.centers_once, step.center_sums, n_change)
        _add(inputs, step.places_once, step.place_sums, u_change)

    def vectors(self) -> Float[Tensor, "V columns"]:
        """U, the word vectors, in the coordinates in use; of a word never met in the limit, zero.

        Such a word's own coordinate, in which no other vector has an entry, is left out: its cosine with every
        other word is zero either way.
        """
        return self.inputs.dense(self.active)

    def output_vectors(self) -> Float[Tensor, "V columns"]:
        """N, in the same coordinates."""
        return self.outputs.dense(self.active)

    def renormalize(self) -> None:
        """Multiply small scales into their rows; to be called now and then, in each million positions say."""
        self.inputs.renormalize()
        self.outputs.renormalize()

    def state_dict(self) -> dict[str, Tensor | int]:
        """All that later steps depend on; the tensors are not copied."""
        return {
            "inputs": self.inputs.rows,
            "inputs_log_scale": self.inputs.log_scale,
            "inputs_rounding": self.inputs.generator.get_state(),
            "outputs": self.outputs.rows,
            "outputs_log_scale": self.outputs.log_scale,
            "outputs_rounding": self.outputs.generator.get_state(),
            "coordinate": self.coordinate,
            "active": self.active,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """The inverse of `state_dict`, into vectors of the same sizes."""
        for name, rows in (("inputs", self.inputs), ("outputs", self.outputs)):
            rows.rows.copy_(state[name])  # pyright: ignore[reportArgumentType]
            rows.log_scale.copy_(state[f"{name}_log_scale"])  # pyright: ignore[reportArgumentType]
            rows.generator.set_state(state[f"{name}_rounding"])  # pyright: ignore[reportArgumentType]
        self.coordinate.copy_(state["coordinate"])  # pyright: ignore[reportArgumentType]
        self.active = int(state["active"])

    def _give_coordinates(self, passage: Passage) -> list[int]:
        """In the limit, a unit vector for each word that is met for the first time.

        Returns:
            How many coordinates are in use in each step.
        """
        if not isinstance(self.start, UnitVectors) or self.active == self.inputs.columns:
            return [self.active] * passage.steps
        (new_places,) = torch.nonzero(self.coordinate[passage.words] < 0, as_tuple=True)
        new, which = passage.words[new_places].unique(return_inverse=True)
        first_place = torch.full_like(new, len(passage.words)).scatter_reduce_(0, which, new_places, "amin")
        new, first_place = new[first_place.argsort()], first_place.sort().values
        self.coordinate[new] = torch.arange(self.active, self.active + len(new))
        self.inputs.set_one(new.to(self.device), self.coordinate[new].to(self.device))
        met = passage.first_step(first_place).bincount(minlength=passage.steps).cumsum(0) + self.active
        self.active += len(new)
        return met.tolist()


def _add(rows: ScaledRows, ids: Tensor, sums: Tensor | None, change: Tensor) -> None:
    rows.add(rows.locate(ids, change.shape[1]), change if sums is None else sums @ change)


def state_bytes(vocabulary: int, start: Start, dtype: torch.dtype) -> int:
    """What both matrices take when all rows and coordinates are in use."""
    return 2 * stored_bytes(vocabulary, start.columns(vocabulary), dtype)
