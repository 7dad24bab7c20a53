"""The first layer of a convolutional network; and every other convolution that follows no nonlinearity."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.conventions import Conventional
from mupi.layers.grid import Grid, Pair, shorter
from mupi.torch_internals import is_transformed


@takes_numpy
class InputConv2d(Conventional):
    """x ↦ scale·(A ∗ x + bias_scale·β), an ordinary convolution d_in → r whose filters have norm 1 at the start.

    >>> layer = mupi.InputConv2d(3, 16, kernel_size=5, stride=2)
    >>> layer(torch.randn(4, 3, 32, 32)).shape  # channels last
    torch.Size([4, 16, 16, 16])

    Args:
        d_in: Channels of the images.
        rank: Rank r of the junction that it writes.
        kernel_size: Side of the filters, or both sides.
        stride: Every how many pixels there is a position.
        padding: Pixels that are added at both ends of each axis; None for half of an odd kernel.
        padding_mode: What is there: "zeros" or "circular".
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        generator: Draws the filters; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel without ``padding``, or a scale
            that is negative.
    """

    def __init__(
        self,
        d_in: int,
        rank: int,
        kernel_size: Pair = 3,
        stride: Pair = 1,
        *,
        padding: Pair | None = None,
        padding_mode: str = "zeros",
        scale: float = 1.0,
        bias_scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        positive_int("InputConv2d(d_in=...)", d_in)
        positive_int("InputConv2d(rank=...)", rank)
        self.grid = Grid.of("InputConv2d", kernel_size, stride, padding, padding_mode)
        non_negative("InputConv2d(scale=...)", scale)
        non_negative("InputConv2d(bias_scale=...)", bias_scale)
        self.scale = scale
        self.bias_scale = bias_scale
        start = torch.randn(rank, d_in * self.grid.offsets, dtype=torch.float64, generator=generator)
        start = nn.functional.normalize(start).reshape(rank, d_in, *self.grid.size)
        self.weight = nn.Parameter(start.to(device=device, dtype=dtype or torch.get_default_dtype()))
        self.bias = nn.Parameter(self.weight.new_zeros(rank)) if bias_scale else None

    @property
    def stride(self) -> int | list[int]:
        """Every how many pixels there is a position."""
        return shorter(self.grid.stride)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns rank"]:
        """scale·(A ∗ x + bias_scale·β); channels last, as all junctions have them.

        Raises:
            ValueError: If ``x`` is no batch of images of d_in channels.
        """
        channels = self.weight.shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            fail("x", f"of shape (batch, {channels}, height, width)", f"shape {tuple(x.shape)}")
        x = self.grid.wrapped(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if torch.compiler.is_compiling() or not is_transformed(x):  # vmap has no such layout
            x = x.contiguous(memory_format=torch.channels_last)
        g = nn.functional.conv2d(x, self.weight, stride=self.grid.stride, padding=self.grid.zeros).permute(0, 2, 3, 1)
        g = g.to(self.weight.dtype)  # norms and features are too delicate for autocast's
        if self.bias is not None:
            g = g + self.bias_scale * self.bias
        return self.scale * g

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return self.grid.arguments() | {
            "scale": self.scale,
            "bias_scale": self.bias_scale if self.bias is not None else 0.0,
        }

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        said = self.grid.arguments() | {"scale": self.scale}
        rank, d_in = self.weight.shape[:2]
        return ", ".join([f"{d_in}, {rank}", *(f"{name}={value}" for name, value in said.items())])
