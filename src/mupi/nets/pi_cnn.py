"""`PiCNN`: the π-limit of a convolutional network, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.features import Features
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


@takes_numpy
class PiCNN(PiNetwork):
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
        input_scale: α of the first layer.
        output_scale: α of the readout.
        bias_scale: α of all biases; 0 leaves them out.
        readout_std: Standard deviation of the initial readout's a; 0 for a network that starts at zero.
        generator: Draws the initial weights and whatever is random in the features; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, a scale that is negative or not finite, an even kernel
            or blocks that do not divide the positions.
    """

    input: InputConv2d
    replayable = True

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
        input_scale: float = 1.0,
        output_scale: float = 1.0,
        bias_scale: float = 0.5,
        readout_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        check_image_shape("PiCNN(image_shape=...)", image_shape)
        for name, value in dict(d_out=d_out, rank=rank, kernel_size=kernel_size).items():
            positive_int(f"PiCNN({name}=...)", value)
        scales = dict(input_scale=input_scale, output_scale=output_scale, bias_scale=bias_scale)
        for name, value in dict(**scales, readout_std=readout_std).items():
            non_negative(f"PiCNN({name}=...)", value)
        self.image_shape = image_shape
        self.normalized = normalized
        layer: dict[str, Any] = dict(
            features=LEAN if features is None else features,
            activation=CENTERED if activation is None else as_activation(activation, "PiCNN(activation=...)"),
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        self.input = InputConv2d(
            image_shape[0],
            rank,
            input_kernel,
            input_stride,
            scale=input_scale,
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        check_pools("PiCNN", image_shape, input_stride, pools)
        # As in `PiMLP`: all draws of the initial function come before those of feature maps.
        initial = [conv_initialization(rank, rank, kernel_size, generator=generator) for _ in pools]
        last = pi_initialization(rank, d_out, readout_std, generator)
        convolutions = [
            PiConv2d(rank, rank, kernel_size, pool=pool, initial=atoms, **layer)
            for pool, atoms in zip(pools, initial, strict=True)
        ]
        self.centres = center_layers(1 + len(pools), rank, subtract_mean, dtype=dtype, device=device)
        readout = AveragedReadout(rank, d_out, scale=output_scale, initial=last, **layer)
        self.layers = nn.ModuleList([*convolutions, readout])

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return super().conventions() | {
            "image_shape": list(self.image_shape),
            "pools": [layer.pool.height for layer in self.layers if isinstance(layer, PiConv2d)],
            "input_stride": self.input.stride,
            "normalized": self.normalized,
            "subtract_mean": isinstance(self.centres[0], Center),
            "input_scale": self.input.scale,
        }

    @property
    def readout(self) -> AveragedReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer."""
        return cast(AveragedReadout, self.layers[-1])

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """One for each layer."""
        return [[layer] for layer in self.pi_layers]

    @property
    def pi_layers(self) -> list[PiLayer]:
        """The convolutions after the first layer, and the readout."""
        return [cast(PiLayer, layer) for layer in self.layers]

    def hidden(self, x: Float[Tensor, "batch ..."]) -> list[Float[Tensor, "batch rows columns r"]]:
        """g¹, …, g^L, on ever coarser grids; of images (batch, channels, height, width) or flattened ones."""
        g = []
        for layer, center in zip((self.input, *self.layers[:-1]), self.centres, strict=True):
            g.append(center(layer(g[-1] if g else as_images(x, self.image_shape))))
            if self.normalized:
                g[-1] = normalize(g[-1])
        return g

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch d_out"]:
        """f(x).

        Raises:
            ValueError: If ``x`` are no such images, or have a NaN or infinity.
        """
        return self.readout(self.hidden(x)[-1])


def center_layers(number: int, rank: int, wanted: bool, **like: Any) -> nn.ModuleList:
    """A `Center` for each of some junctions, or what leaves g as it is."""
    return nn.ModuleList([Center(rank, **like) if wanted else nn.Identity() for _ in range(number)])


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
