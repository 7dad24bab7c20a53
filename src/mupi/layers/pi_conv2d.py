"""`PiConv2d`: a convolution between junctions that every position of an image has."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis, positive_int
from mupi.conventions import Conventional
from mupi.features import AveragePool, Expansion, Features, Neuron, Weight
from mupi.layers.grid import Grid, Pair, pair, shorter
from mupi.layers.pi_linear import check_options, check_ranks, neuron, pi_initialization
from mupi.layers.reads_junction import ReadsJunction


@takes_numpy
class PiConv2d(ReadsJunction, Conventional):
    """g'(p) = scale·(Σ_o C_o ψ̄(g)(stride·p+o) + bias_scale·β): an infinitely wide convolution of φ of a layer.

    Position p has channels ⟨g(p), z⟩, with the z of its junction the same at all positions; o runs over the kernel's
    offsets, positions outside the image count as φ = 0 or are those at the other end, and ψ̄ is ψ averaged over
    blocks of ``pool`` × ``pool`` positions. Exactly, C_o ψ(g) = Σ_m c_m a_{m,o} κ_φ(b_m, g): one list of atoms
    (c, a, b), with a vector a for each offset, since a sample's position is one input to all of them. So the weight is
    that of a `PiLinear` to offsets·r_out outputs, and the convolution is its outputs, moved and added.

    >>> layer = mupi.PiConv2d(8, 8, features=mupi.Hermite(2), activation=mupi.ReLU())
    >>> layer(torch.randn(4, 6, 6, 8)).shape  # channels last
    torch.Size([4, 6, 6, 8])

    Args:
        rank_in: r of the input's junction.
        rank_out: r of the output's junction.
        kernel_size: Side of the kernel, or both sides.
        pool: Side of the blocks that φ is averaged over before the convolution, or both; 1 for none.
        stride: Every how many positions there is one of the output. All are computed, and the others left out, unless
            the kernel has one position.
        padding: Positions that are added at both ends of each axis; None for half of an odd kernel.
        padding_mode: What is there: "zeros" or "circular".
        features: The feature map ψ.
        activation: φ, an `Activation` or any callable.
        bias: Whether there is a bias β, initially 0, the same at all positions.
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        initial: The initial sum of atoms, of ranks rank_in → offsets·rank_out, offsets in the order of `offsets`; None
            for a π-initialised weight at each offset.
        init_std: Standard deviation of a's entries in π-initialisation; None for 1/√(offsets·rank_in), 0 for no
            initial atoms.
        generator: Draws the initial atoms and whatever is random in the feature map; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel without ``padding``, or an
            argument `PiLinear` refuses.
    """

    def __init__(
        self,
        rank_in: int,
        rank_out: int,
        kernel_size: Pair = 3,
        *,
        pool: Pair = 1,
        stride: Pair = 1,
        padding: Pair | None = None,
        padding_mode: str = "zeros",
        features: Features,
        activation: Neuron | Callable[[Tensor], Tensor],
        bias: bool = True,
        scale: float = 1.0,
        bias_scale: float = 1.0,
        initial: Expansion | None = None,
        init_std: float | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        for name, value in dict(rank_in=rank_in, rank_out=rank_out).items():
            positive_int(f"PiConv2d({name}=...)", value)
        self.grid = Grid.of("PiConv2d", kernel_size, stride, padding, padding_mode)
        check_options("PiConv2d", features, scale, bias_scale, init_std)
        if initial is None:
            initial = conv_initialization(rank_in, rank_out, kernel_size, init_std, generator)
        check_ranks("PiConv2d", initial, rank_in, self.grid.offsets * rank_out)
        initial = initial.to(dtype or torch.get_default_dtype(), device)
        self.rank_out = rank_out
        self.pool = AveragePool(*pair("PiConv2d(pool=...)", pool))
        self.scale = scale
        self.bias_scale = bias_scale
        self.weight: Weight = features.weight(initial, neuron(activation, "PiConv2d(activation=...)"), generator)
        self.bias = nn.Parameter(initial.c.new_zeros(rank_out)) if bias and bias_scale else None

    @property
    def kernel_size(self) -> int | list[int]:
        """Side of the kernel, or its rows and columns."""
        return shorter(self.grid.size)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """o of each block of rank_out outputs of the weight: (down, right), from the lower right to the upper left."""
        down, right = (range(k - 1 - p, -p - 1, -1) for k, p in zip(self.grid.size, self.grid.padding, strict=True))
        return [(i, j) for i in down for j in right]

    def forward(
        self, g: Float[Tensor, "*positions rank_in"], move: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "*pooled rank_out"]:
        """(..., height, width, rank_in) to (..., rows, columns, rank_out): see the class.

        Args:
            g: The junction at each position.
            move: A linear map of (..., height, width, k) between positions, of φ before the convolution.

        Raises:
            ValueError: If ``g`` is no grid of junctions of rank_in, or ``pool`` does not divide it.
        """
        last_axis("PiConv2d.forward(g)", g, self.weight.rank_in, self.weight.dtype)
        if g.ndim < 3:
            fail("PiConv2d.forward(g)", "of shape (..., height, width, rank_in)", f"shape {tuple(g.shape)}")
        batch, grid, x = g.shape[:-3], self.grid, g.reshape(prod(g.shape[:-3]), *g.shape[-3:])
        if move is None and self.pool.size == (1, 1):
            x, grid = grid.subsampled(x)
        # It commutes with the weight.
        parts = self.weight.pooled(x, self.pool) if move is None else move(self.weight(x))
        out = grid.add_moved(parts)
        out = out.reshape(*batch, *out.shape[1:])
        if self.bias is not None:
            out = out + self.bias_scale * self.bias
        return self.scale * out

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {
            **self.grid.arguments(),
            "pool": shorter(self.pool.size),
            "scale": self.scale,
            "bias_scale": self.bias_scale if self.bias is not None else 0.0,
        }

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        said = {**self.grid.arguments(), "pool": shorter(self.pool.size)}
        said |= {"scale": self.scale, "bias_scale": self.bias_scale}
        return ", ".join(f"{name}={value}" for name, value in said.items())


def conv_initialization(
    rank_in: int | Sequence[int],
    rank_out: int,
    kernel_size: Pair,
    std: float | None = None,
    generator: torch.Generator | None = None,
) -> Expansion:
    """`pi_initialization` at each offset by itself: atoms whose a is zero at all offsets but one.

    ``std`` None is 1/√(offsets·rank_in), with which the sum over offsets keeps the size of one offset's part.
    """
    offsets = prod(pair("conv_initialization(kernel_size=...)", kernel_size))
    if std is None:
        std = (offsets * (rank_in if isinstance(rank_in, int) else rank_in[0])) ** -0.5
    parts = [pi_initialization(rank_in, rank_out, std, generator) for _ in range(offsets)]
    return Expansion(
        torch.cat([part.c for part in parts]),
        torch.block_diag(*(part.a for part in parts)),
        torch.cat([part.b for part in parts]),
    )
