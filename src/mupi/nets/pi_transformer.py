"""`PiTransformer`: the π-limit of a transformer, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.features import Features
from mupi.layers import Attention, AveragedReadout, DenseMatrix, PiLinear, normalize, pi_initialization
from mupi.layers.pi_layers import PiLayer
from mupi.layers.pi_network import PiNetwork
from mupi.nets.centered import CENTERED, LEAN
from mupi.nets.tokens import Sequences


@takes_numpy
class PiTransformer(PiNetwork):
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
        bias_scale: α of all biases; 0 leaves them out.
        readout_std: Standard deviation of the initial readout's a; 0 for a network that starts at zero.
        generator: Draws the initial weights and whatever is random in the features; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer or a scale that is negative or not finite.
    """

    replayable = True

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
        bias_scale: float = 0.5,
        readout_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        if not isinstance(tokens, Sequences):
            fail("PiTransformer(tokens=...)", "mupi.Patches(...) or mupi.Tokens(...)", repr(tokens))
        for name, value in dict(d_out=d_out, rank=rank, depth=depth, heads=heads).items():
            positive_int(f"PiTransformer({name}=...)", value)
        if rank_head is not None:
            positive_int("PiTransformer(rank_head=...)", rank_head)
        elif rank % heads:
            fail("PiTransformer(heads=...)", f"a divisor of the rank {rank}", heads, "or give rank_head")
        branch = (2 * depth) ** -0.5 if branch_scale is None else branch_scale
        scales = dict(branch_scale=branch, output_scale=output_scale, bias_scale=bias_scale)
        for name, value in dict(**scales, readout_std=readout_std).items():
            non_negative(f"PiTransformer({name}=...)", value)
        like: dict[str, Any] = dict(generator=generator, dtype=dtype, device=device)
        self.tokens, self.heads, self.causal = tokens, heads, tokens.causal
        self.input = tokens.embedding(rank, **like)
        attention = [
            Attention(rank, heads, rank_head or rank // heads, causal=tokens.causal, scale=branch, **like)
            for _ in range(depth)
        ]
        matrices = [DenseMatrix(rank, rank, bias_scale=bias_scale, **like) for _ in range(depth)]
        initial = [pi_initialization(rank, rank, generator=generator) for _ in range(depth)]
        last = pi_initialization(rank, d_out, readout_std, generator)
        layer: dict[str, Any] = dict(
            features=LEAN if features is None else features,
            activation=CENTERED if activation is None else as_activation(activation, "PiTransformer(activation=...)"),
            bias_scale=bias_scale,
            **like,
        )
        branches = [PiLinear(rank, rank, scale=branch, initial=atoms, **layer) for atoms in initial]
        self.attention = nn.ModuleList(attention)
        self.matrices = nn.ModuleList(matrices)
        kind = PiLinear if tokens.causal else AveragedReadout
        self.layers = nn.ModuleList([*branches, kind(rank, d_out, scale=output_scale, initial=last, **layer)])

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        branch = self.pi_layers[0].scale
        return super().conventions() | {"tokens": str(self.tokens), "heads": self.heads, "branch_scale": branch}

    @property
    def readout(self) -> PiLinear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer."""
        return cast(PiLinear, self.layers[-1])

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """One for each layer."""
        return [[layer] for layer in self.pi_layers]

    @property
    def pi_layers(self) -> list[PiLinear]:
        """The second weight of each block's perceptron, and the readout."""
        return [cast(PiLinear, layer) for layer in self.layers]

    def hidden(self, x: Tensor) -> list[Float[Tensor, "batch positions r"]]:
        """The junction inside each block's perceptron, and the normalised stream that the readout reads."""
        g, seen = self.input(x), []
        for attention, matrix, layer in zip(self.attention, self.matrices, self.layers[:-1], strict=True):
            g = g + attention(normalize(g))
            seen.append(normalize(matrix(normalize(g))))
            g = g + layer(seen[-1])
        return [*seen, normalize(g)]

    def forward(self, x: Tensor) -> Float[Tensor, "batch ... d_out"]:
        """(batch, positions, d_out) for causal inputs, else (batch, d_out).

        Raises:
            ValueError: If ``x`` is not as ``tokens`` says.
        """
        return self.readout(self.hidden(x)[-1])
