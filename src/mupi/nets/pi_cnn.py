"""`PiCNN`: the π-limit of a convolutional network, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.architecture import (
    AveragePool,
    Center,
    Conv,
    Dense,
    Normalize,
    Part,
    Permute,
    PiArchitecture,
    Width,
    chain,
    describe,
    named,
)
from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.features import Features
from mupi.layers import Center as RunningCenter
from mupi.layers import InputConv2d, odd_kernel
from mupi.nets.centered import CENTERED, LEAN
from mupi.nets.images import ImageShape, check_image_shape


@takes_numpy
class PiCNN(PiArchitecture):
    """A convolutional network in the π-limit, or near it.

    g¹ = N(input_scale·(A ∗ x + bias_scale·β¹)),  g^{l+1}(p) = N(Σ_o C^l_o ψ̄(g^l)(p+o) + bias_scale·β^{l+1}),
    f(x) = output_scale·(C^L mean_p ψ(g^L(p)) + bias_scale·β^{L+1}),

    with ψ̄ the average of ψ over blocks of positions and N(g) = g/|g|, the limit of LayerNorm and RMSNorm over
    channels, or N(g) = g; with ``subtract_mean``, of g less its mean over the batch and all positions. See
    `mupi.PiConv2d` and docs/architectures.md.

    >>> net = mupi.PiCNN((3, 16, 16), 10, rank=8, pools=(2,))
    >>> net(torch.randn(4, 3, 16, 16)).shape
    torch.Size([4, 10])

    Args:
        image_shape: Channels, height and width of the images.
        d_out: Output dimension.
        rank: Rank r of the junctions.
        pools: For each convolution after the first layer, the side of the blocks that ψ is averaged over before it;
            their number is L − 1.
        kernel_size: Odd side of these convolutions' kernels.
        input_kernel: Odd side of the first layer's filters.
        input_stride: Every how many pixels g¹ has a position.
        normalized: Whether g is normalised at each position.
        subtract_mean: Whether each layer's g is centred before, see `mupi.layers.Center`. Most of what positions and
            images have in common would otherwise be all that later layers see at first: trains faster, the deeper
            the more.
        features: `mupi.Hermite` (constant memory), `mupi.Atoms` (exact), `mupi.RandomFeatures` (finite π-net); None for
            degree 2 in 16 directions.
        activation: φ; None for one with kernel |b||g|(q/4 + q²), which degree 2 has exactly.
        output_scale: α of the readout.
        **options: Of `mupi.architecture.Architecture.pi`: ``input_scale`` and ``bias_scale``, α of the first layer (1)
            and of all biases (½; 0 leaves them out); ``readout_std``, the standard deviation of the initial readout's
            a (0, the default, for a network that starts at zero); ``generator``, ``dtype`` and ``device``.

    Raises:
        ValueError: For a size that is not a positive integer, a scale that is negative or not finite, an even kernel
            or blocks that do not divide the positions.
    """

    input: InputConv2d
    layers: nn.ModuleList

    def __init__(
        self,
        image_shape: ImageShape,
        d_out: int,
        rank: int = 32,
        pools: Sequence[int] = (2, 2),
        *,
        kernel_size: int = 3,
        input_kernel: int = 5,
        input_stride: int = 2,
        normalized: bool = True,
        subtract_mean: bool = False,
        features: Features | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        output_scale: float = 1.0,
        **options: Any,
    ):
        check_images("PiCNN", image_shape, d_out, kernel_size, input_kernel, input_stride)
        φ = CENTERED if activation is None else as_activation(activation, "PiCNN(activation=...)")
        check_pools("PiCNN", image_shape, input_stride, pools)
        norm, parts = [Normalize(subtract=False)] if normalized else [], [first_conv(input_kernel, input_stride)]
        for i, pool in enumerate([*pools, 0]):
            parts += [named(f"centres.{i}", Center())] if subtract_mean else []
            parts += [*norm, φ]
            if pool:
                parts += [AveragePool((pool, pool))] if pool > 1 else []
                parts += [named(f"layers.{i}", same_conv(kernel_size))]
        parts += [AveragePool(), named(f"layers.{len(pools)}", Dense(d_out))]
        self.image_shape, self.arguments = image_shape, {
            "image_shape": list(image_shape),
            "pools": list(pools),
            "input_stride": input_stride,
            "normalized": normalized,
            "subtract_mean": subtract_mean,
        }  # fmt: skip
        network = describe(image_shape, chain(*parts))
        super().__init__(network, rank, LEAN if features is None else features, output_scale=output_scale, **options)


def check_images(network: str, shape: ImageShape, d_out: int, kernel: int, input_kernel: int, stride: int) -> None:
    """Raise ``ValueError`` for sizes that no network of images has."""
    check_image_shape(f"{network}(image_shape=...)", shape)
    sizes = dict(d_out=d_out, kernel_size=kernel, input_kernel=input_kernel, input_stride=stride)
    for name, value in sizes.items():
        positive_int(f"{network}({name}=...)", value)
    for side in (kernel, input_kernel):
        odd_kernel(network, side)


def first_conv(side: int, stride: int) -> Part:
    """Channels last, and the first convolution, with zeros around the image."""
    conv = Conv(Width(), (side, side), (stride, stride), (side // 2, side // 2))
    return chain(Permute((1, 2, 0)), named("input", conv))


def same_conv(side: int) -> Conv:
    """A convolution with as many positions as it reads."""
    return Conv(Width(), (side, side), padding=(side // 2, side // 2))


def center_layers(number: int, rank: int, wanted: bool, **like: Any) -> nn.ModuleList:
    """A `Center` for each of some junctions, or what leaves g as it is."""
    return nn.ModuleList([RunningCenter(rank, **like) if wanted else nn.Identity() for _ in range(number)])


def check_pools(network: str, image_shape: ImageShape, stride: int, pools: Sequence[int]) -> None:
    """Raise ``ValueError`` unless the blocks of each pooling fill the positions that are left."""
    rows, columns = (-(-size // stride) for size in image_shape[1:])
    for pool in pools:
        positive_int(f"{network}(pools=...)", pool)
        if rows % pool or columns % pool:
            fail(
                f"{network}(pools=...)",
                f"sizes that divide the positions, {rows} × {columns} here",
                pool,
                f"the first layer leaves {-(-image_shape[1] // stride)} × {-(-image_shape[2] // stride)}",
            )
        rows, columns = rows // pool, columns // pool
