"""Attention between positions, made of weights that follow no nonlinearity."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis, positive_int
from mupi.conventions import Conventional
from mupi.layers.dense_matrix import DenseMatrix


@takes_numpy
class Heads(Conventional):
    """Σ_p' A_h(p, p') v_h(p') in each head h, with A_h(p, ·) = softmax(logit_scale·⟨q_h(p), k_h(·)⟩), side by side.

    Queries and keys of a head share a junction, so the logits of μP, q·k/d over its d coordinates, are inner products
    of vectors in R^{rank_head}; finite networks of all widths have the same attention.

    Args:
        heads: Number of heads.
        causal: Whether a position sees itself and those before it only.
        logit_scale: Multiplier of the logits.
    """

    def __init__(self, heads: int, causal: bool = False, logit_scale: float = 1.0):
        super().__init__()
        positive_int("Heads(heads=...)", heads)
        self.heads = heads
        self.causal = causal
        self.logit_scale = logit_scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "*batch positions heads_rank"]:
        """Of (..., positions, heads·rank_head) each: see the class."""
        q, k, v = (self._by_head(x) for x in (q, k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=self.logit_scale)
        return mixed.transpose(-2, -3).flatten(-2)

    def weights_of(self, q: Tensor, k: Tensor) -> Float[Tensor, "*batch heads positions positions"]:
        """A_h(p, p'), to look at."""
        logits = self.logit_scale * self._by_head(q) @ self._by_head(k).mT
        if self.causal:
            logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).triu(1), -torch.inf)
        return logits.softmax(-1)

    def _by_head(self, x: Tensor) -> Float[Tensor, "*batch heads positions rank_head"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {"heads": self.heads, "causal": self.causal, "logit_scale": self.logit_scale}

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"heads={self.heads}, causal={self.causal}, logit_scale={self.logit_scale:.4g}"


@takes_numpy
class Attention(Heads):
    """o(p) = scale·Σ_h O_h Σ_p' A_h(p, p') V_h g(p'),  A_h(p, ·) = softmax(logit_scale·⟨Q_h g(p), K_h g(·)⟩).

    A weight between two junctions that follows no nonlinearity is an ordinary matrix: h' = W h with
    W = Ω' M Ω̃ᵀ/n has h' = Ω' M g at every width. For the heads see `Heads`.

    >>> attention = mupi.Attention(rank=8, heads=2, rank_head=4, causal=True)
    >>> attention(torch.randn(3, 10, 8)).shape  # of three sequences of ten positions
    torch.Size([3, 10, 8])

    Args:
        rank: Rank r of the stream that it reads and writes.
        heads: Number of heads.
        rank_head: Rank of a head's junctions; they have Q, K, V of shape (r, rank_head) and O of (rank_head, r).
        causal: Whether a position sees itself and those before it only.
        logit_scale: Multiplier of the logits; None for r/√rank_head, with which logits of unit vectors start of
            order one.
        scale: Multiplier of the output.
        generator: Draws the matrices; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer.
    """

    def __init__(
        self,
        rank: int,
        heads: int,
        rank_head: int,
        *,
        causal: bool = False,
        logit_scale: float | None = None,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        for name, value in dict(rank=rank, heads=heads, rank_head=rank_head).items():
            positive_int(f"Attention({name}=...)", value)
        super().__init__(heads, causal, rank / rank_head**0.5 if logit_scale is None else logit_scale)
        # Columns of norm 1: of Q, K and V all heads' side by side, of O one head's below the other's.
        options: dict[str, Any] = dict(bias_scale=0.0, generator=generator, dtype=dtype, device=device)
        self.query, self.key, self.value = (DenseMatrix(rank, heads * rank_head, **options) for _ in range(3))
        self.out = DenseMatrix(heads * rank_head, rank, scale=scale, **options)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, g: Float[Tensor, "*positions r"]
    ) -> Float[Tensor, "*positions r"]:
        """(..., positions, r) to the same shape: see the class.

        Raises:
            ValueError: If ``g`` has another last axis, or no axis of positions.
        """
        last_axis("Attention.forward(g)", g, len(self.query.weight), self.query.weight.dtype)
        if g.ndim < 2:
            fail("Attention.forward(g)", "of shape (..., positions, r)", f"shape {tuple(g.shape)}")
        return self.out(super().forward(self.query(g), self.key(g), self.value(g)))

    def weights(self, g: Float[Tensor, "*batch positions r"]) -> Float[Tensor, "*batch heads positions positions"]:
        """A_h(p, p'), to look at."""
        return self.weights_of(self.query(g), self.key(g))
