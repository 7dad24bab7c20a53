"""`PiResNet`: the π-limit of a residual convolutional network, and its finite relatives."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.architecture import (
    AveragePool,
    Center,
    Dense,
    Normalize,
    Part,
    PiArchitecture,
    chain,
    describe,
    named,
    residual,
)
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.features import Features
from mupi.layers import InputConv2d
from mupi.nets.centered import CENTERED, LEAN
from mupi.nets.images import ImageShape
from mupi.nets.pi_cnn import check_images, check_pools, first_conv, same_conv


@takes_numpy
class PiResNet(PiArchitecture):
    """A residual convolutional network in the π-limit, or near it.

    g⁰ = input_scale·(A ∗ x + bias_scale·β),  g^l(p) = g^{l−1}(p) + branch_scale·(Σ_o C^l_o ψ(ḡ^{l−1}(p+o)) + bias),
    f(x) = output_scale·(C mean_p ψ(ḡ^L(p)) + bias), with ḡ = g/|g|, the limit of LayerNorm before each branch;
    with ``subtract_mean``, of g less its mean over the batch and all positions.

    Layers that are added must have one Ω: the stream is one junction from beginning to end. It is linear in g, so
    averages over positions between stages are taken of g itself.

    >>> net = mupi.PiResNet((3, 16, 16), 10, rank=8, blocks=(1, 1))
    >>> net(torch.randn(4, 3, 16, 16)).shape
    torch.Size([4, 10])

    Args:
        image_shape: Channels, height and width of the images.
        d_out: Output dimension.
        rank: Rank r of the junctions.
        blocks: Number of branches in each stage; after each stage but the last, 2 × 2 positions are averaged.
        kernel_size: Odd side of the convolutions' kernels.
        input_kernel: Odd side of the first layer's filters.
        input_stride: Every how many pixels there is a position.
        branch_scale: Multiplier of every branch; None for 1/√L with L the number of branches, with which learning
            rates keep their meaning as L grows.
        subtract_mean: Whether g is centred before each normalisation, see `mupi.PiCNN`.
        features: `mupi.Hermite`, `mupi.Atoms` or `mupi.RandomFeatures`; None for degree 2 in 16 directions.
        activation: φ; None for one with kernel |b||g|(q/4 + q²), which degree 2 has exactly.
        output_scale: α of the readout.
        **options: Of `mupi.architecture.Architecture.pi`: ``input_scale`` and ``bias_scale``, α of the first layer (1)
            and of all biases (½; 0 leaves them out); ``readout_std``, the standard deviation of the initial readout's
            a (0, the default, for a network that starts at zero); ``generator``, ``dtype`` and ``device``.

    Raises:
        ValueError: As `mupi.PiCNN`.
    """

    input: InputConv2d
    layers: nn.ModuleList

    def __init__(
        self,
        image_shape: ImageShape,
        d_out: int,
        rank: int = 32,
        blocks: Sequence[int] = (1, 1, 1),
        *,
        kernel_size: int = 3,
        input_kernel: int = 5,
        input_stride: int = 2,
        branch_scale: float | None = None,
        subtract_mean: bool = False,
        features: Features | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        output_scale: float = 1.0,
        **options: Any,
    ):
        check_images("PiResNet", image_shape, d_out, kernel_size, input_kernel, input_stride)
        if not blocks:
            fail("PiResNet(blocks=...)", "a number of branches for each stage", blocks)
        for number in blocks:
            positive_int("PiResNet(blocks=...)", number)
        depth = sum(blocks)
        branch = non_negative("PiResNet(branch_scale=...)", depth**-0.5 if branch_scale is None else branch_scale)
        check_pools("PiResNet", image_shape, input_stride, [2] * (len(blocks) - 1))
        φ = CENTERED if activation is None else as_activation(activation, "PiResNet(activation=...)")

        def normed(i: int) -> list[Part]:
            centered: list[Part] = [named(f"centres.{i}", Center())] if subtract_mean else []
            return [*centered, Normalize(subtract=False), φ]

        parts, layer = [first_conv(input_kernel, input_stride)], 0
        for stage, number in enumerate(blocks):
            parts += [AveragePool((2, 2))] if stage else []
            for _ in range(number):
                conv = named(f"layers.{layer}", same_conv(kernel_size))
                parts, layer = [*parts, residual(*normed(layer), conv, scale=branch)], layer + 1
        parts += [*normed(depth), AveragePool(), named(f"layers.{depth}", Dense(d_out))]
        self.image_shape, self.blocks, self.arguments = image_shape, tuple(blocks), {
            "image_shape": list(image_shape),
            "blocks": list(blocks),
            "input_stride": input_stride,
            "branch_scale": branch,
            "subtract_mean": subtract_mean,
        }  # fmt: skip
        network = describe(image_shape, chain(*parts))
        super().__init__(network, rank, LEAN if features is None else features, output_scale=output_scale, **options)
