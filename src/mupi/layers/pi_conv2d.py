"""`PiConv2d`: a convolution between junctions that every position of an image has."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis, positive_int
from mupi.conventions import Conventional
from mupi.features import AveragePool, Expansion, Features, Weight
from mupi.layers.pi_linear import check_options, check_ranks, pi_initialization


@takes_numpy
class PiConv2d(Conventional):
    """g'(p) = scale·(Σ_o C_o ψ̄(g)(p+o) + bias_scale·β): an infinitely wide convolution of φ of a layer.

    Position p has channels ⟨g(p), z⟩, with the z of its junction the same at all positions; o runs over the kernel's
    offsets, positions outside the image count as φ = 0, and ψ̄ is ψ averaged over blocks of ``pool`` × ``pool``
    positions. Exactly, C_o ψ(g) = Σ_m c_m a_{m,o} κ_φ(b_m, g): one list of atoms (c, a, b), with a vector a for each
    offset, since a sample's position is one input to all of them. So the weight is that of a `PiLinear` to
    offsets·r_out outputs, and the convolution is its outputs, moved and added.

    Args:
        rank_in: r of the input's junction.
        rank_out: r of the output's junction.
        kernel_size: Odd side of the kernel.
        pool: Side of the blocks that φ is averaged over before the convolution; 1 for none.
        features: The feature map ψ.
        activation: φ, an `Activation` or any callable.
        bias: Whether there is a bias β, initially 0, the same at all positions.
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        initial: The initial sum of atoms, of ranks rank_in → kernel_size²·rank_out, offsets in the order of
            `offsets`; None for a π-initialised weight at each offset.
        init_std: Standard deviation of a's entries in π-initialisation; None for 1/√(kernel_size²·rank_in), 0 for no
            initial atoms.
        generator: Randomness.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel, or an argument `PiLinear` refuses.
    """

    def __init__(
        self,
        rank_in: int,
        rank_out: int,
        kernel_size: int = 3,
        *,
        pool: int = 1,
        features: Features,
        activation: Activation | Callable[[Tensor], Tensor],
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
        for name, value in dict(rank_in=rank_in, rank_out=rank_out, kernel_size=kernel_size, pool=pool).items():
            positive_int(f"PiConv2d({name}=...)", value)
        odd_kernel("PiConv2d", kernel_size)
        check_options("PiConv2d", features, scale, bias_scale, init_std)
        if initial is None:
            initial = conv_initialization(rank_in, rank_out, kernel_size, init_std, generator)
        check_ranks("PiConv2d", initial, rank_in, kernel_size**2 * rank_out)
        initial = initial.to(dtype or torch.get_default_dtype(), device)
        self.kernel_size = kernel_size
        self.rank_out = rank_out
        self.pool = AveragePool(pool)
        self.scale = scale
        self.bias_scale = bias_scale
        self.weight: Weight = features.weight(initial, as_activation(activation, "PiConv2d(activation=...)"), generator)
        self.bias = nn.Parameter(initial.c.new_zeros(rank_out)) if bias and bias_scale else None

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """o of each block of rank_out outputs of the weight: (down, right), from the lower right to the upper left."""
        reach = range(self.kernel_size // 2, -(self.kernel_size // 2) - 1, -1)
        return [(down, right) for down in reach for right in reach]

    def forward(self, g: Float[Tensor, "*positions rank_in"]) -> Float[Tensor, "*pooled rank_out"]:
        """(..., height, width, rank_in) to (..., height/pool, width/pool, rank_out): see the class.

        Raises:
            ValueError: If ``g`` is no grid of junctions of rank_in, or ``pool`` does not divide it.
        """
        last_axis("PiConv2d.forward(g)", g, self.weight.rank_in, self.weight.dtype)
        if g.ndim < 3:
            fail("PiConv2d.forward(g)", "of shape (..., height, width, rank_in)", f"shape {tuple(g.shape)}")
        out = add_moved(self.weight.pooled(g, self.pool), self.kernel_size)
        if self.bias is not None:
            out = out + self.bias_scale * self.bias
        return self.scale * out

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {
            "kernel_size": self.kernel_size,
            "pool": self.pool.height,
            "scale": self.scale,
            "bias_scale": self.bias_scale if self.bias is not None else 0.0,
        }

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return (
            f"kernel_size={self.kernel_size}, pool={self.pool.height}, scale={self.scale}, bias_scale={self.bias_scale}"
        )


def add_moved(
    parts: Float[Tensor, "*batch height width offsets_rank"], kernel_size: int
) -> Float[Tensor, "*batch height width rank"]:
    """g'(p) = Σ_o D_o(p+o) for D of shape (..., offsets, rank), flattened, in the order of `PiConv2d.offsets`."""
    height, width, size = parts.shape[-3:]
    offsets = kernel_size**2
    columns = parts.reshape(-1, height * width, offsets, size // offsets).permute(0, 3, 2, 1).flatten(1, 2)
    out = nn.functional.fold(columns, (height, width), kernel_size, padding=kernel_size // 2)
    return out.permute(0, 2, 3, 1).reshape(*parts.shape[:-1], size // offsets)


def conv_initialization(
    rank_in: int,
    rank_out: int,
    kernel_size: int,
    std: float | None = None,
    generator: torch.Generator | None = None,
) -> Expansion:
    """`pi_initialization` at each offset by itself: atoms whose a is zero at all offsets but one.

    ``std`` None is 1/√(offsets·rank_in), with which the sum over offsets keeps the size of one offset's part.
    """
    offsets = kernel_size**2
    parts = [
        pi_initialization(rank_in, rank_out, (offsets * rank_in) ** -0.5 if std is None else std, generator)
        for _ in range(offsets)
    ]
    return Expansion(
        torch.cat([part.c for part in parts]),
        torch.block_diag(*(part.a for part in parts)),
        torch.cat([part.b for part in parts]),
    )


def odd_kernel(layer: str, kernel_size: int) -> None:
    """Raise ``ValueError`` for an even kernel, which has no centre."""
    if kernel_size % 2 == 0:
        fail(f"{layer}(kernel_size=...)", "odd", kernel_size)
