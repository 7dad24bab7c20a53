"""Average pooling over positions, which commutes with every weight."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int


@takes_numpy
@dataclass(frozen=True)
class AveragePool:
    """The average over blocks of positions: (..., height, width, k) ↦ (..., height/size, width/size, k).

    It acts on φ(h), so on ψ(g), and commutes with the weight: pool(C ψ(g)) = C pool(ψ(g)). The second is cheaper.

    Args:
        height: Rows of a block; they divide the rows of what is pooled.
        width: Columns of a block; None for as many as rows.
    """

    height: int
    width: int | None = None

    def __post_init__(self):
        positive_int("AveragePool(height=...)", self.height)
        if self.width is None:
            object.__setattr__(self, "width", self.height)
        positive_int("AveragePool(width=...)", self.size[1])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        assert self.width is not None
        return self.height, self.width

    def __call__(self, x: Float[Tensor, "*batch height width k"]) -> Float[Tensor, "*batch rows columns k"]:
        """The average over each block.

        Raises:
            ValueError: If the blocks do not fill the grid of positions.
        """
        if x.ndim < 3 or any(n % size for n, size in zip(x.shape[-3:-1], self.size, strict=True)):
            fail("AveragePool", f"of a size that divides the positions {tuple(x.shape[-3:-1])}", self.size)
        if self.size == (1, 1):
            return x
        if not x.numel():  # of a batch of none, or of features of which there are none
            return x[..., :: self.size[0], :: self.size[1], :]
        out = Averages.apply(x.reshape(-1, *x.shape[-3:]), self)
        assert isinstance(out, Tensor)
        return out.reshape(*x.shape[:-3], *out.shape[-3:])

    def adjoint(self, y: Float[Tensor, "*batch rows columns k"]) -> Float[Tensor, "*batch height width k"]:
        """The transposed map: each block filled with its entry, divided by the block's size."""
        (rows, columns, k), (height, width) = y.shape[-3:], self.size
        blocks = (y / (height * width))[..., :, None, :, None, :]
        blocks = blocks.expand(*y.shape[:-3], rows, height, columns, width, k)
        return blocks.reshape(*y.shape[:-3], rows * height, columns * width, k)


class Averages(torch.autograd.Function):
    """`AveragePool` with its adjoint as gradient; torch's own is four times slower for channels in the last axis."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, pool: AveragePool) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Average."""
        return torch.nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), pool.size).permute(0, 2, 3, 1)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """Keep the pool."""
        ctx.pool = inputs[1]

    @staticmethod
    def backward(ctx, delta: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Spread; differentiable, so it can be differentiated again."""
        return ctx.pool.adjoint(delta), None
