"""`PiResNet`: the π-limit of a residual convolutional network, and its finite relatives."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.features import AveragePool, Features
from mupi.layers import (
    AveragedReadout,
    Center,
    InputConv2d,
    PiConv2d,
    conv_initialization,
    normalize,
    pi_initialization,
)
from mupi.layers.pi_layers import PiLayer
from mupi.layers.pi_network import PiNetwork
from mupi.nets.centered import CENTERED, LEAN
from mupi.nets.images import ImageShape, as_images, check_image_shape
from mupi.nets.pi_cnn import center_layers, check_pools


@takes_numpy
class PiResNet(PiNetwork):
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
        input_scale: α of the first layer.
        output_scale: α of the readout.
        bias_scale: α of all biases; 0 leaves them out.
        readout_std: Standard deviation of the initial readout's a; 0 for a network that starts at zero.
        generator: Draws the initial weights and whatever is random in the features; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: As `mupi.PiCNN`.
    """

    input: InputConv2d
    replayable = True

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
        input_scale: float = 1.0,
        output_scale: float = 1.0,
        bias_scale: float = 0.5,
        readout_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        check_image_shape("PiResNet(image_shape=...)", image_shape)
        for name, value in dict(d_out=d_out, rank=rank, kernel_size=kernel_size).items():
            positive_int(f"PiResNet({name}=...)", value)
        if not blocks:
            fail("PiResNet(blocks=...)", "a number of branches for each stage", blocks)
        for number in blocks:
            positive_int("PiResNet(blocks=...)", number)
        depth = sum(blocks)
        branch = depth**-0.5 if branch_scale is None else branch_scale
        scales = dict(input_scale=input_scale, output_scale=output_scale, branch_scale=branch)
        for name, value in dict(**scales, bias_scale=bias_scale, readout_std=readout_std).items():
            non_negative(f"PiResNet({name}=...)", value)
        check_pools("PiResNet", image_shape, input_stride, [2] * (len(blocks) - 1))
        self.image_shape = image_shape
        self.blocks = tuple(blocks)
        like: dict[str, Any] = dict(generator=generator, dtype=dtype, device=device)
        self.input = InputConv2d(
            image_shape[0], rank, input_kernel, input_stride, scale=input_scale, bias_scale=bias_scale, **like
        )
        initial = [conv_initialization(rank, rank, kernel_size, generator=generator) for _ in range(depth)]
        last = pi_initialization(rank, d_out, readout_std, generator)
        stream = (LEAN if features is None else features).at_junction(rank, generator)
        φ = CENTERED if activation is None else as_activation(activation, "PiResNet(activation=...)")
        layer: dict[str, Any] = dict(features=stream, activation=φ, bias_scale=bias_scale, **like)
        branches = [PiConv2d(rank, rank, kernel_size, scale=branch, initial=atoms, **layer) for atoms in initial]
        self.centres = center_layers(1 + depth, rank, subtract_mean, dtype=dtype, device=device)
        readout = AveragedReadout(rank, d_out, scale=output_scale, initial=last, **layer)
        self.layers = nn.ModuleList([*branches, readout])

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return super().conventions() | {
            "image_shape": list(self.image_shape),
            "blocks": list(self.blocks),
            "input_stride": self.input.stride,
            "branch_scale": self.pi_layers[0].scale,
            "subtract_mean": isinstance(self.centres[0], Center),
            "input_scale": self.input.scale,
        }

    @property
    def readout(self) -> AveragedReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer."""
        return cast(AveragedReadout, self.layers[-1])

    @property
    def pi_layers(self) -> list[PiLayer]:
        """The branches and the readout."""
        return [cast(PiLayer, layer) for layer in self.layers]

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """One, which all layers read."""
        return [self.pi_layers]

    def hidden(self, x: Float[Tensor, "batch ..."]) -> list[Float[Tensor, "batch rows columns r"]]:
        """ḡ before each branch and before the readout; of images (batch, channels, height, width) or flattened ones."""
        g = self.input(as_images(x, self.image_shape))
        seen, layers, center, halve = [], iter(self.pi_layers), iter(self.centres), AveragePool(2)
        for stage, number in enumerate(self.blocks):
            if stage:
                g = halve(g)
            for _ in range(number):
                seen.append(normalize(next(center)(g)))
                g = g + next(layers)(seen[-1])
        return [*seen, normalize(next(center)(g))]

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch d_out"]:
        """f(x).

        Raises:
            ValueError: If ``x`` are no such images, or have a NaN or infinity.
        """
        return self.readout(self.hidden(x)[-1])
