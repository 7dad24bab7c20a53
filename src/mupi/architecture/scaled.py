"""Modules with parameters in an abc-parametrization: linear maps, convolutions, embeddings, normalizations."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mupi.architecture.scaling import Lent, Scaled, Scaling
from mupi.arrays import takes_numpy
from mupi.parametrization import Parametrization
from mupi.torch_internals import is_batched


class ScaledConv(Scaled):
    """A convolution over one or two axes of positions, of (batch, *positions, channels).

    Args:
        d_in: Channels that it reads.
        d_out: Channels that it puts out.
        size: Sides of the kernel.
        stride: Stride along each axis.
        padding: Padding along each axis.
        mode: "zeros" or "circular".
        scaling: Multipliers and initial values.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        mode: str,
        scaling: Scaling,
    ):
        super().__init__()
        self.stride, self.padding, self.mode = stride, padding, mode
        self.scale_by(scaling)
        self.weight = scaling.draw(d_out, d_in, *size)
        self.bias = scaling.draw_bias(d_out) if scaling.bias_scale else None

    def forward(
        self, x: Float[Tensor, "batch *positions d_in"], lent: Lent | None = None
    ) -> Float[Tensor, "batch *places d_out"]:
        """See the class."""
        own = lent or self
        out = self.weight_multiplier * convolve(x, own.weight, self.stride, self.padding, self.mode)
        return self.plus_bias(out, own.bias)


def convolve(
    x: Float[Tensor, "batch *positions d_in"],
    weight: Float[Tensor, "d_out d_in *size"],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    mode: str,
) -> Float[Tensor, "batch *places d_out"]:
    """Σ_o W_o x(stride·p + o − padding), channels last."""
    x = x.movedim(-1, 1)
    if mode == "circular" and any(padding):
        both = [side for pad in reversed(padding) for side in (pad, pad)]
        x, padding = nn.functional.pad(x, both, mode="circular"), (0,) * len(padding)
    operation = nn.functional.conv1d if weight.ndim == 3 else nn.functional.conv2d
    if weight.ndim == 4 and not is_batched(x):
        x = x.contiguous(memory_format=torch.channels_last)
    return operation(x, weight, stride=stride, padding=padding).movedim(1, -1)


class ScaledEmbedding(Scaled):
    """W[x] for integers x.

    Args:
        count: How many different integers there are.
        d_out: Number of channels.
        scaling: Multipliers and initial values.
    """

    bias = None

    def __init__(self, count: int, d_out: int, scaling: Scaling):
        super().__init__()
        self.scale_by(scaling)
        self.weight = scaling.draw(count, d_out)

    def forward(self, x: Int[Tensor, "*batch"], lent: Lent | None = None) -> Float[Tensor, "*batch d_out"]:
        """See the class."""
        return self.weight_multiplier * nn.functional.embedding(x, (lent or self).weight)


class ScaledTable(Scaled):
    """A vector for each position, the same for all samples.

    Args:
        positions: Axes of the positions.
        d_out: Number of channels.
        scaling: Multipliers and initial values.
    """

    bias = None

    def __init__(self, positions: tuple[int, ...], d_out: int, scaling: Scaling):
        super().__init__()
        self.scale_by(scaling)
        self.weight = scaling.draw(*positions, d_out)

    def forward(self, lent: Lent | None = None) -> Float[Tensor, "1 *positions d_out"]:
        """See the class."""
        return self.weight_multiplier * (lent or self).weight[None]


class ScaledNorm(Scaled):
    """LayerNorm or RMSNorm over the last axis, with a gain that starts at 1 and a shift that starts at 0.

    Args:
        size: Number of channels.
        subtract: Whether the mean is subtracted.
        eps: Added to the variance.
        gain: Whether there is a gain.
        shift: Whether there is a shift.
        scaling: Multipliers of gain and shift.
    """

    def __init__(self, size: int, subtract: bool, eps: float, gain: bool, shift: bool, scaling: Scaling):
        super().__init__()
        self.subtract, self.eps = subtract, eps
        self.scale_by(scaling)
        start = torch.zeros(size, dtype=scaling.dtype, device=scaling.device)
        self.weight = nn.Parameter(start + 1 / self.weight_multiplier) if gain else None
        self.bias = nn.Parameter(start.clone()) if shift else None

    def forward(self, x: Float[Tensor, "*batch n"], lent: Lent | None = None) -> Float[Tensor, "*batch n"]:
        """See the class."""
        x, own = normalized(self.subtract, self.eps, x), lent or self
        return self.plus_bias(x if own.weight is None else self.weight_multiplier * own.weight * x, own.bias)

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"{'LayerNorm' if self.subtract else 'RMSNorm'}, eps={self.eps:g}"


def normalized(subtract: bool, eps: float, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """x/√(mean x² + eps) along the last axis, its mean perhaps subtracted first; of zeros, zeros."""
    if subtract:
        x = x - x.mean(-1, keepdim=True)
    variance = x.square().mean(-1, keepdim=True)
    variance = variance + eps if eps else variance
    return x * variance.clamp_min(torch.finfo(x.dtype).tiny).rsqrt()


@takes_numpy
class ScaledLinear(Scaled, nn.Linear):
    """x ↦ scale·(n^{-a} w x + bias_scale·n^{-a_β} β), with w ~ N(0, std² n^{-2b}), β ~ N(0, bias_std² n^{-2b_β}).

    Exponents are those of a layer of a perceptron; a bias has (a_1, b_1) in hidden layers, (−c/2, c/2) in the readout.

    Args:
        d_in: Input dimension.
        d_out: Output dimension.
        layer: l, from 1 to L+1; 0 for a weight without an infinite axis, whose exponents are (−c/2, c/2).
        width: The width n.
        parametrization: The exponents.
        scale: α of the layer: multiplies its output.
        bias_scale: α of the bias; 0 leaves it out.
        std: Standard deviation of n^b w.
        bias_std: Standard deviation of n^{b_β} β.
        generator: Draws the initial weights; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        layer: int,
        width: int,
        parametrization: Parametrization,
        scale: float = 1.0,
        bias_scale: float = 0.0,
        std: float = 1.0,
        bias_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        # torch's own initialization would draw from the global generator: made on "meta", then replaced.
        super().__init__(d_in, d_out, bias=bias_scale != 0, device="meta", dtype=dtype)
        role = {0: "finite", 1: "input", parametrization.depth + 1: "readout"}.get(layer, "hidden")
        scaling = Scaling(
            role, layer, width, parametrization, scale, bias_scale, std, bias_std, generator, dtype, device
        )
        self.scale_by(scaling)
        self.weight = scaling.draw(d_out, d_in)
        self.bias = scaling.draw_bias(d_out) if bias_scale else None

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"{nn.Linear.extra_repr(self)}, layer={self.layer}, weight_multiplier={self.weight_multiplier:.4g}"

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Tensor, "*batch d_in"], lent: Lent | None = None
    ) -> Float[Tensor, "*batch d_out"]:
        """See the class."""
        own = lent or self
        return self.plus_bias(self.weight_multiplier * nn.functional.linear(x, own.weight), own.bias)

    @property
    def is_readout(self) -> bool:
        """Whether this is W^{L+1}."""
        return self.scaling.role == "readout"
