"""`PiTransformer`: the π-limit of a transformer, and its finite relatives, by choice of features."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.architecture import Attention as SoftmaxAttention
from mupi.architecture import (
    AveragePool,
    Dense,
    Normalize,
    Part,
    PiArchitecture,
    Value,
    Width,
    chain,
    describe,
    named,
    residual,
)
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.features import Features
from mupi.nets.centered import CENTERED, LEAN
from mupi.nets.tokens import Sequences


@takes_numpy
class PiTransformer(PiArchitecture):
    """A pre-norm transformer in the π-limit, or near it.

    With ḡ = g/|g| (the limit of LayerNorm), for each block

    g ← g + branch_scale·Attention(ḡ),  g ← g + branch_scale·(C ψ(N(ḡ M)) + bias),

    where M is an ordinary r × r matrix, N(m) = m/|m|, and `mupi.Attention` is made of such; see there. The output is
    output_scale·(C ψ(ḡ) + bias), at each position, or of ψ averaged over positions if the input is not causal.

    >>> net = mupi.PiTransformer(mupi.Tokens(vocabulary=50, length=12), 50, rank=8, depth=1)
    >>> net(torch.randint(50, (2, 12))).shape
    torch.Size([2, 12, 50])

    Args:
        tokens: What is read: `mupi.Patches` of images or `mupi.Tokens` of text.
        d_out: Output dimension.
        rank: r of the stream and of the blocks' inner junctions.
        depth: Number of blocks.
        heads: Number of attention heads.
        rank_head: Rank of a head; None for rank/heads.
        branch_scale: Multiplier of both branches; None for 1/√(2·depth), with which learning rates keep their
            meaning as the depth grows.
        features: `mupi.Hermite`, `mupi.Atoms` or `mupi.RandomFeatures`; None for degree 2 in 16 directions.
        activation: φ; None for one with kernel |b||g|(q/4 + q²), which degree 2 has exactly.
        output_scale: α of the readout.
        **options: Of `mupi.architecture.Architecture.pi`: ``input_scale`` and ``bias_scale``, α of embeddings (1) and
            of all biases (½; 0 leaves them out); ``readout_std``, the standard deviation of the initial readout's
            a (0, the default, for a network that starts at zero); ``generator``, ``dtype`` and ``device``.

    Raises:
        ValueError: For a size that is not a positive integer or a scale that is negative or not finite.
    """

    attention: nn.ModuleList
    matrices: nn.ModuleList
    layers: nn.ModuleList

    def __init__(
        self,
        tokens: Sequences,
        d_out: int,
        rank: int = 32,
        depth: int = 2,
        *,
        heads: int = 4,
        rank_head: int | None = None,
        branch_scale: float | None = None,
        features: Features | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        output_scale: float = 1.0,
        **options: Any,
    ):
        if not isinstance(tokens, Sequences):
            fail("PiTransformer(tokens=...)", "mupi.Patches(...) or mupi.Tokens(...)", repr(tokens))
        for name, value in dict(d_out=d_out, rank=rank, depth=depth, heads=heads).items():
            positive_int(f"PiTransformer({name}=...)", value)
        if rank_head is None and rank % heads:
            fail("PiTransformer(heads=...)", f"a divisor of the rank {rank}", heads, "or give rank_head")
        branch = (2 * depth) ** -0.5 if branch_scale is None else branch_scale
        non_negative("PiTransformer(branch_scale=...)", branch)
        φ = CENTERED if activation is None else as_activation(activation, "PiTransformer(activation=...)")
        n, norm = Width(), Normalize(subtract=False)

        def attend(i: int) -> Part:
            def through(x: Value) -> Value:
                read = (named(f"attention.{i}.{part}", Dense(n, False))(x) for part in ("query", "key", "value"))
                mixed = SoftmaxAttention(heads, tokens.causal)(*read, name=f"attention.{i}")
                return named(f"attention.{i}.out", Dense(n, False))(mixed)

            return through

        parts = [tokens.embedding(rank)]
        for i in range(depth):
            parts += [residual(norm, attend(i), scale=branch)]
            matrix, layer = named(f"matrices.{i}", Dense(n)), named(f"layers.{i}", Dense(n))
            parts += [residual(norm, matrix, norm, φ, layer, scale=branch)]
        parts += [norm, φ, *([] if tokens.causal else [AveragePool()]), named(f"layers.{depth}", Dense(d_out))]
        self.tokens, self.heads, self.causal = tokens, heads, tokens.causal
        self.arguments = {"tokens": str(tokens), "heads": heads, "branch_scale": branch}
        network = describe(tokens.axes, chain(*parts), integers=tokens.integers)
        options = dict(rank_head=rank_head, output_scale=output_scale) | options
        super().__init__(network, rank, LEAN if features is None else features, **options)
