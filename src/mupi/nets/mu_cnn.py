"""`MuCNN`: the finite convolutional network in μP, beside `PiCNN`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import non_negative, positive_int
from mupi.conventions import Conventional, function
from mupi.layers import Center, odd_kernel
from mupi.layers.network import Network
from mupi.nets.centered import CENTERED
from mupi.nets.images import ImageShape, as_images, check_image_shape
from mupi.nets.neuron_readout import NeuronReadout, mean_over_positions
from mupi.nets.pi_cnn import center_layers, check_pools
from mupi.optim import check_rates, rate_groups


@takes_numpy
class MuCNN(Conventional, Network):
    """A convolutional network of n channels in μP (Yang & Hu 2021), of the same shape as a `mupi.PiCNN`.

    h^1 = N(√n (w^1 ∗ x + bias_scale·β^1)),  h^{l+1} = N(w^{l+1} ∗ φ̄(h^l) + √n·bias_scale·β^{l+1}),
    f = output_scale·(w^{L+1} mean_p φ(h^L(p))/√n + bias_scale·β^{L+1}),

    where φ̄ is φ averaged over blocks of positions and N is RMSNorm over channels or nothing, with ``subtract_mean``
    of h less each channel's mean over the batch and all positions; w^l has entries
    N(0, 1/(n k²)), for the first layer N(0, 1/(n d k²)), the readout starts at 0. Learning rates do not depend on n.
    Arguments are those of `mupi.PiCNN`, with n in place of rank and features.

    >>> net = mupi.MuCNN((3, 16, 16), 10, width=32, pools=(2,))
    >>> net(torch.randn(4, 3, 16, 16)).shape
    torch.Size([4, 10])

    Raises:
        ValueError: As `mupi.PiCNN`.
    """

    replayable = True

    def __init__(
        self,
        image_shape: ImageShape,
        d_out: int,
        width: int,
        pools: Sequence[int] = (2, 2),
        *,
        kernel_size: int = 3,
        input_kernel: int = 5,
        input_stride: int = 2,
        normalized: bool = True,
        subtract_mean: bool = False,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        output_scale: float = 1.0,
        bias_scale: float = 0.5,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        check_image_shape("MuCNN(image_shape=...)", image_shape)
        for name, value in dict(d_out=d_out, width=width, kernel_size=kernel_size, input_kernel=input_kernel).items():
            positive_int(f"MuCNN({name}=...)", value)
        odd_kernel("MuCNN", kernel_size)
        odd_kernel("MuCNN", input_kernel)
        for name, value in dict(output_scale=output_scale, bias_scale=bias_scale).items():
            non_negative(f"MuCNN({name}=...)", value)
        check_pools("MuCNN", image_shape, input_stride, pools)
        self.image_shape, self.stride, self.pools = image_shape, input_stride, tuple(pools)
        self.normalized, self.output_scale, self.bias_scale = normalized, output_scale, bias_scale
        self.activation = CENTERED if activation is None else as_activation(activation, "MuCNN(activation=...)")
        dtype = dtype or torch.get_default_dtype()

        def kernel(d: int, size: int, fan: int) -> nn.Parameter:
            draw = torch.randn(width, d, size, size, dtype=torch.float64, generator=generator)
            return nn.Parameter((draw / (fan * size**2) ** 0.5).to(device, dtype))

        d_in = image_shape[0]
        self.first = kernel(d_in, input_kernel, width * d_in)
        self.hidden_weights = nn.ParameterList([kernel(width, kernel_size, width) for _ in pools])
        self.last = nn.Parameter(torch.zeros(d_out, width, dtype=dtype, device=device))
        sizes = [*[width] * (1 + len(pools)), d_out]
        self.centres = center_layers(1 + len(pools), width, subtract_mean, dtype=dtype, device=device)
        self.biases = nn.ParameterList([torch.zeros(n, dtype=dtype, device=device) for n in sizes])

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {
            "activation": function(self.activation, self.last),
            "image_shape": list(self.image_shape),
            "pools": list(self.pools),
            "input_stride": self.stride,
            "normalized": self.normalized,
            "subtract_mean": isinstance(self.centres[0], Center),
            "output_scale": self.output_scale,
            "bias_scale": self.bias_scale,
        }

    @property
    def width(self) -> int:
        """n."""
        return self.last.shape[1]

    @property
    def readout(self) -> NeuronReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer, as a function of h^L."""
        last = _Last(self.last, self.biases[-1], self.output_scale, self.bias_scale).train(self.training)
        return NeuronReadout(last, self.activation, self.width, average=True)

    def hidden(self, x: Float[Tensor, "batch ..."]) -> list[Float[Tensor, "batch rows columns n"]]:
        """h^1, …, h^L, channels last."""
        root, padding = self.width**0.5, self.first.shape[-1] // 2
        x = as_images(x, self.image_shape).contiguous(memory_format=torch.channels_last)
        h = [self._norm(root * nn.functional.conv2d(x, self.first, stride=self.stride, padding=padding), 0)]
        for i, (w, pool) in enumerate(zip(self.hidden_weights, self.pools, strict=True), 1):
            φ = nn.functional.avg_pool2d(self.activation(h[-1]).permute(0, 3, 1, 2), pool)
            h.append(self._norm(nn.functional.conv2d(φ, w, padding=w.shape[-1] // 2), i))
        return h

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch d_out"]:
        """f(x), of images with their axes or flattened."""
        φ = mean_over_positions(self.activation(self.hidden(x)[-1]))
        return outputs(φ, self.last, self.biases[-1], self.output_scale, self.bias_scale)

    def parameter_groups(
        self, lr: float, first: float = 1.0, last: float = 1.0, bias: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict]:
        """See `Network.parameter_groups`."""
        check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
        kinds = [
            ("first", [self.first], first),
            ("hidden", list(self.hidden_weights), 1.0),
            ("last", [self.last], last),
            ("bias", list(self.biases), bias),
        ]
        return rate_groups(kinds, lr, weight_decay)

    def _norm(self, h: Float[Tensor, "batch n rows columns"], i: int) -> Float[Tensor, "batch rows columns n"]:
        """Add the i-th bias, subtract the mean, normalise; channels last, along which φ may look."""
        h = h.permute(0, 2, 3, 1) + self.width**0.5 * self.bias_scale * self.biases[i]
        h = self.centres[i](h)
        if self.normalized:
            h = h * h.square().mean(-1, keepdim=True).clamp_min(torch.finfo(h.dtype).tiny).rsqrt()
        return h


def outputs(
    φ: Float[Tensor, "*batch n"],
    weight: Float[Tensor, "d_out n"],
    bias: Float[Tensor, " d_out"],
    output_scale: float,
    bias_scale: float,
) -> Float[Tensor, "*batch d_out"]:
    """output_scale·(w φ/√n + bias_scale·β)."""
    return output_scale * (φ @ weight.T / weight.shape[1] ** 0.5 + bias_scale * bias)


class _Last(nn.Module):
    """`outputs` as a module, with the parameters of a network."""

    def __init__(self, weight: Tensor, bias: Tensor, output_scale: float, bias_scale: float):
        super().__init__()
        self.weight, self.bias, self.output_scale, self.bias_scale = weight, bias, output_scale, bias_scale

    def forward(self, φ: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch d_out"]:
        """See the class."""
        return outputs(φ, self.weight, self.bias, self.output_scale, self.bias_scale)
