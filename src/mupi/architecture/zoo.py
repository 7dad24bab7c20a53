"""Networks that everybody knows, in a few lines each."""

from collections.abc import Sequence

from mupi.activations import GELU, Activation, ReLU
from mupi.architecture.architecture import Architecture
from mupi.architecture.coordinates import Add, Multiply, Normalize
from mupi.architecture.describe import Part, chain, describe, named, residual
from mupi.architecture.draft import Value
from mupi.architecture.positions import Attention, AveragePool, Flatten, Permute, Reshape
from mupi.architecture.shape import Width
from mupi.architecture.weights import Conv, Dense, Embed, Table
from mupi.checks import fail, positive_int

n = Width()


def perceptron(
    d_in: int, d_out: int, depth: int = 2, activation: Activation | None = None, *, bias: bool = True
) -> Architecture:
    """``depth`` hidden layers of n coordinates.

    >>> print(perceptron(784, 10, depth=1))
                operation   shape   parameters
    ────────────────────────────────────────────────────
    x           Input(784)  (784,)  data
    layers.0    Dense(n)    (n,)    input weight, bias
    activate_1  ReLU        (n,)
    layers.1    Dense(10)   (10,)   readout weight, bias

    Args:
        d_in: Input dimension.
        d_out: Output dimension.
        depth: Number L ≥ 1 of hidden layers.
        activation: φ; None for ReLU.
        bias: Whether weights have biases.
    """
    φ = ReLU() if activation is None else activation
    positive_int("perceptron(depth=...)", depth)
    hidden = [(named(f"layers.{i}", Dense(n, bias)), φ) for i in range(depth)]
    readout = named(f"layers.{depth}", Dense(d_out, bias))
    return describe((d_in,), chain(*(part for layer in hidden for part in layer), readout))


def cnn(
    image_shape: tuple[int, int, int],
    d_out: int,
    depth: int = 3,
    activation: Activation | None = None,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    pools: Sequence[int] = (),
    average: bool = True,
    normalize: bool = False,
    bias: bool = True,
) -> Architecture:
    """``depth`` convolutions with zeros around the image, so that positions stay where stride is 1.

    Args:
        image_shape: Channels, height and width.
        d_out: Output dimension.
        depth: Number L ≥ 1 of hidden layers.
        activation: φ; None for ReLU.
        kernel_size: Odd side of the kernels.
        stride: Of the first convolution.
        pools: For each later convolution, the side of the blocks that are averaged before it; empty for none.
        average: Whether φ is averaged over positions before the readout, which else has weights for each.
        normalize: Whether each layer is divided by its size before φ (RMSNorm over channels).
        bias: Whether weights have biases.
    """
    φ = ReLU() if activation is None else activation
    side, padding = (kernel_size,) * 2, (kernel_size // 2,) * 2
    pools = tuple(pools) or (1,) * (depth - 1)
    if len(pools) != depth - 1:
        fail("cnn(pools=...)", f"one for each of {depth - 1} convolutions after the first", pools)
    parts: list[Part] = [Permute((1, 2, 0))]
    for i in range(depth):
        if i and pools[i - 1] > 1:
            parts.append(AveragePool((pools[i - 1],) * 2))
        strides = (stride if i == 0 else 1,) * 2
        parts.append(named(f"layers.{i}", Conv(n, side, strides, padding, bias=bias)))
        parts += [Normalize(subtract=False), φ] if normalize else [φ]
    parts += [AveragePool() if average else Flatten(), named(f"layers.{depth}", Dense(d_out, bias))]
    return describe(image_shape, chain(*parts))


def resnet(
    image_shape: tuple[int, int, int],
    d_out: int,
    blocks: Sequence[int] = (1, 1, 1),
    activation: Activation | None = None,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    branch_scale: float | None = None,
    bias: bool = True,
) -> Architecture:
    """A pre-activation residual network: x + Conv φ(RMSNorm x) in each block, 2 × 2 positions averaged between stages.

    Args:
        image_shape: Channels, height and width.
        d_out: Output dimension.
        blocks: Number of blocks in each stage.
        activation: φ; None for ReLU.
        kernel_size: Odd side of the kernels.
        stride: Of the first convolution.
        branch_scale: Multiplier of each branch; None for 1/√L with L the number of blocks.
        bias: Whether weights have biases.
    """
    φ = ReLU() if activation is None else activation
    side, padding = (kernel_size,) * 2, (kernel_size // 2,) * 2
    scale = sum(blocks) ** -0.5 if branch_scale is None else branch_scale
    parts: list[Part] = [Permute((1, 2, 0)), named("input", Conv(n, side, (stride,) * 2, padding, bias=bias))]
    for stage, number in enumerate(blocks):
        if stage:
            parts.append(AveragePool((2, 2)))
        for block in range(number):
            conv = named(f"stages.{stage}.{block}", Conv(n, side, padding=padding, bias=bias))
            parts.append(residual(Normalize(subtract=False), φ, conv, scale=scale))
    return describe(
        image_shape, chain(*parts, Normalize(subtract=False), φ, AveragePool(), named("out", Dense(d_out, bias)))
    )


def attention_block(
    name: str,
    heads: int,
    *,
    causal: bool = False,
    width: Width = n,
    hidden: Width | None = None,
    activation: Activation | None = None,
    gated: bool = False,
    scale: float = 1.0,
    bias: bool = False,
) -> Part:
    """A pre-norm transformer block: x + Attention(N x), then x + W φ(V N x); gated, x + W (φ(V N x) · U N x).

    Args:
        name: That its weights' names begin with.
        heads: Number of heads.
        causal: Whether a position sees itself and those before it only.
        width: Width of the stream.
        hidden: Of the perceptron's hidden layer; None for four times as wide.
        activation: φ; None for GELU.
        gated: Whether the hidden layer is a product of two (SwiGLU, with φ the SiLU).
        scale: Multiplier of both branches.
        bias: Whether weights have biases.
    """
    φ, inner = GELU() if activation is None else activation, 4 * width if hidden is None else hidden

    def attend(x: Value) -> Value:
        q, k, v = (named(f"{name}.{part}", Dense(width, bias))(x) for part in ("query", "key", "value"))
        return named(f"{name}.out", Dense(width, bias))(Attention(heads, causal)(q, k, v))

    def perceive(x: Value) -> Value:
        h = chain(named(f"{name}.up", Dense(inner, bias)), φ)(x)
        if gated:
            h = Multiply()(h, named(f"{name}.gate", Dense(inner, bias))(x))
        return named(f"{name}.down", Dense(width, bias))(h)

    return chain(residual(Normalize(), attend, scale=scale), residual(Normalize(), perceive, scale=scale))


def gpt(
    vocabulary: int,
    length: int,
    depth: int = 2,
    heads: int = 4,
    activation: Activation | None = None,
    *,
    gated: bool = False,
    branch_scale: float | None = None,
) -> Architecture:
    """A causal transformer on tokens: at each position a vector of logits for the next; μP's 1/d attention.

    Args:
        vocabulary: Number of different tokens.
        length: Number of positions.
        depth: Number of blocks.
        heads: Number of heads.
        activation: φ; None for GELU.
        gated: See `attention_block`.
        branch_scale: Multiplier of each branch; None for 1/√(2·depth).
    """
    scale = (2 * depth) ** -0.5 if branch_scale is None else branch_scale

    def embed(x: Value) -> Value:
        return Add()(Embed(vocabulary, n)(x, name="tokens"), Table((length,), n)(x, name="positions"))

    blocks = (
        attention_block(f"blocks.{i}", heads, causal=True, activation=activation, gated=gated, scale=scale)
        for i in range(depth)
    )
    return describe(
        (length,), chain(embed, *blocks, Normalize(), named("out", Dense(vocabulary, False))), integers=True
    )


def vit(
    image_shape: tuple[int, int, int],
    patch: int,
    d_out: int,
    depth: int = 2,
    heads: int = 4,
    activation: Activation | None = None,
    *,
    gated: bool = False,
    branch_scale: float | None = None,
    bias: bool = True,
) -> Architecture:
    """A transformer on patches of an image, averaged over positions before the readout; μP's 1/d attention.

    Args:
        image_shape: Channels, height and width.
        patch: Side of a patch, which divides height and width.
        d_out: Output dimension.
        depth: Number of blocks.
        heads: Number of heads.
        activation: φ; None for GELU.
        gated: See `attention_block`.
        branch_scale: Multiplier of each branch; None for 1/√(2·depth).
        bias: Whether weights have biases.
    """
    scale = (2 * depth) ** -0.5 if branch_scale is None else branch_scale
    _, height, width = image_shape
    if height % patch or width % patch:
        fail("vit(patch=...)", f"a divisor of {height} and {width}", patch)
    length = height // patch * (width // patch)

    def embed(x: Value) -> Value:
        patches = chain(Permute((1, 2, 0)), named("patches", Conv(n, (patch,) * 2, (patch,) * 2, bias=bias)))(x)
        return Add()(Reshape((length,))(patches), Table((length,), n)(x, name="positions"))

    blocks = (
        attention_block(f"blocks.{i}", heads, activation=activation, gated=gated, scale=scale, bias=bias)
        for i in range(depth)
    )
    return describe(image_shape, chain(embed, *blocks, Normalize(), AveragePool(), named("out", Dense(d_out, bias))))
