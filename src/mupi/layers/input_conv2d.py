"""The first layer of a convolutional network: from images to the first junction at each position."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.conventions import Conventional
from mupi.layers.pi_conv2d import odd_kernel


@takes_numpy
class InputConv2d(Conventional):
    """x ↦ scale·(A ∗ x + bias_scale·β), an ordinary convolution d_in → r whose filters have norm 1 at the start.

    Args:
        d_in: Channels of the images.
        rank: r.
        kernel_size: Odd side of the filters; the image is padded with zeros by half of it.
        stride: Every how many pixels there is a position.
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        generator: Randomness.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel, or a scale that is negative.
    """

    def __init__(
        self,
        d_in: int,
        rank: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        scale: float = 1.0,
        bias_scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        for name, value in dict(d_in=d_in, rank=rank, kernel_size=kernel_size, stride=stride).items():
            positive_int(f"InputConv2d({name}=...)", value)
        odd_kernel("InputConv2d", kernel_size)
        non_negative("InputConv2d(scale=...)", scale)
        non_negative("InputConv2d(bias_scale=...)", bias_scale)
        self.stride = stride
        self.scale = scale
        self.bias_scale = bias_scale
        start = torch.randn(rank, d_in * kernel_size**2, dtype=torch.float64, generator=generator)
        start = nn.functional.normalize(start).reshape(rank, d_in, kernel_size, kernel_size)
        self.weight = nn.Parameter(start.to(device=device, dtype=dtype or torch.get_default_dtype()))
        self.bias = nn.Parameter(self.weight.new_zeros(rank)) if bias_scale else None

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns rank"]:
        """scale·(A ∗ x + bias_scale·β); channels last, as all junctions have them.

        Raises:
            ValueError: If ``x`` is no batch of images of d_in channels.
        """
        channels = self.weight.shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            fail("x", f"of shape (batch, {channels}, height, width)", f"shape {tuple(x.shape)}")
        x = x.contiguous(memory_format=torch.channels_last)
        padding = self.weight.shape[-1] // 2
        g = nn.functional.conv2d(x, self.weight, stride=self.stride, padding=padding).permute(0, 2, 3, 1)
        if self.bias is not None:
            g = g + self.bias_scale * self.bias
        return self.scale * g

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {
            "stride": self.stride,
            "scale": self.scale,
            "bias_scale": self.bias_scale if self.bias is not None else 0.0,
        }

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        rank, d_in, size, _ = self.weight.shape
        return f"{d_in}, {rank}, kernel_size={size}, stride={self.stride}, scale={self.scale}"
