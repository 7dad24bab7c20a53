"""`MuCNN`: the finite convolutional network in μP, beside `PiCNN`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.architecture.coordinates import Center, Normalize
from mupi.architecture.describe import Part, chain, describe, named
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.positions import AveragePool, Permute
from mupi.architecture.shape import Width
from mupi.architecture.weights import Conv, Dense
from mupi.arrays import takes_numpy
from mupi.checks import non_negative, positive_int
from mupi.conventions import function
from mupi.nets.centered import CENTERED
from mupi.nets.images import ImageShape
from mupi.nets.pi_cnn import check_images, check_pools


@takes_numpy
class MuCNN(FiniteNetwork):
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

    first: nn.Parameter
    last: nn.Parameter
    hidden_weights: nn.ParameterList
    biases: nn.ParameterList

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
        check_images("MuCNN", image_shape, d_out, kernel_size, input_kernel, input_stride)
        positive_int("MuCNN(width=...)", width)
        for name, value in dict(output_scale=output_scale, bias_scale=bias_scale).items():
            non_negative(f"MuCNN({name}=...)", value)
        check_pools("MuCNN", image_shape, input_stride, pools)
        φ = CENTERED if activation is None else as_activation(activation, "MuCNN(activation=...)")
        depth, norm = 1 + len(pools), [Normalize(subtract=False)] if normalized else []
        parts: list[Part] = [Permute((1, 2, 0))]
        for i, pool in enumerate((1, *pools)):
            side, stride = (kernel_size, 1) if i else (input_kernel, input_stride)
            parts += [AveragePool((pool, pool))] if i else []
            parts.append(named(f"{i}", Conv(Width(), (side, side), (stride, stride), (side // 2, side // 2))))
            parts += [named(f"centres.{i}", Center())] if subtract_mean else []
            parts += [*norm, φ]
        parts += [AveragePool(), named(f"{depth}", Dense(d_out))]
        names = {f"{i}.bias": f"biases.{i}" for i in range(depth + 1)}
        names |= {f"{i}.weight": f"hidden_weights.{i - 1}" for i in range(1, depth)}
        super().__init__(
            describe(image_shape, chain(*parts)),
            width,
            output_scale=output_scale,
            bias_scale=bias_scale,
            readout_std=0.0,
            names=names | {"0.weight": "first", f"{depth}.weight": "last"},
            generator=generator,
            dtype=dtype,
            device=device,
        )
        self.activation, self.image_shape, self.pools = φ, image_shape, tuple(pools)
        self._said = {
            "image_shape": list(image_shape),
            "pools": list(pools),
            "input_stride": input_stride,
            "normalized": normalized,
            "subtract_mean": subtract_mean,
            "output_scale": output_scale,
            "bias_scale": bias_scale,
        }

    def conventions(self) -> dict[str, Any]:
        """See `mupi.conventions.Conventional`: what state dicts of earlier versions say."""
        return {"activation": function(self.activation, self.last), **self._said}
