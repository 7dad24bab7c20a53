"""Networks as textbooks write them: plain torch on a dictionary of weight matrices, channels first, no multipliers."""

from torch import Tensor
from torch.nn import functional as f

Weights = dict[str, Tensor]
"""W and b by the name of their layer: "layers.0", "layers.0 bias"."""


def affine(w: Weights, name: str, x: Tensor) -> Tensor:
    """W x + b."""
    return f.linear(x, w[name], w.get(f"{name} bias"))


def rms(x: Tensor, axis: int = 1) -> Tensor:
    """x/√(mean x²)."""
    return x / x.square().mean(axis, keepdim=True).sqrt()


def perceptron(w: Weights, x: Tensor, depth: int) -> Tensor:
    """ReLU, ``depth`` hidden layers."""
    for i in range(depth):
        x = affine(w, f"layers.{i}", x).relu()
    return affine(w, f"layers.{depth}", x)


def cnn(w: Weights, x: Tensor, stride: int, pools: tuple[int, ...], average: bool, normalize: bool) -> Tensor:
    """Convolutions of odd sides, ReLU, averages over blocks before all but the first; of images (batch, c, h, w)."""
    for i, pool in enumerate((1, *pools)):
        name = f"layers.{i}"
        x = f.avg_pool2d(x, pool)
        k = w[name].shape[-1]
        x = f.conv2d(x, w[name], w.get(f"{name} bias"), stride=stride if i == 0 else 1, padding=k // 2)
        x = (rms(x) if normalize else x).relu()
    x = x.mean((2, 3)) if average else x.permute(0, 2, 3, 1).flatten(1)
    return affine(w, f"layers.{len(pools) + 1}", x)


def resnet(w: Weights, x: Tensor, blocks: tuple[int, ...], stride: int) -> Tensor:
    """x + Conv relu(RMSNorm x)/√(number of blocks)."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return f.conv2d(x, w[name], w.get(f"{name} bias"), stride=stride, padding=w[name].shape[-1] // 2)

    x = conv("input", x, stride)
    for stage, number in enumerate(blocks):
        x = f.avg_pool2d(x, 2) if stage else x
        for block in range(number):
            x = x + conv(f"stages.{stage}.{block}", rms(x).relu()) / sum(blocks) ** 0.5
    return affine(w, "out", rms(x).relu().mean((2, 3)))


def block(w: Weights, name: str, x: Tensor, heads: int, causal: bool, gated: bool, scale: float) -> Tensor:
    """A pre-norm transformer block with logits q·k/d and GELU."""

    def split(part: str, x: Tensor) -> Tensor:
        return affine(w, f"{name}.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2)

    normal = f.layer_norm(x, x.shape[-1:], eps=0.0)
    q, k, v = (split(part, normal) for part in ("query", "key", "value"))
    mixed = f.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=1 / q.shape[-1])
    x = x + scale * affine(w, f"{name}.out", mixed.transpose(1, 2).flatten(2))
    normal = f.layer_norm(x, x.shape[-1:], eps=0.0)
    h = f.gelu(affine(w, f"{name}.up", normal))
    if gated:
        h = h * affine(w, f"{name}.gate", normal)
    return x + scale * affine(w, f"{name}.down", h)


def gpt(w: Weights, x: Tensor, depth: int, heads: int, gated: bool) -> Tensor:
    """Logits for the next token at each position, (batch, positions, tokens)."""
    h = f.embedding(x, w["tokens"]) + w["positions"]
    for i in range(depth):
        h = block(w, f"blocks.{i}", h, heads, True, gated, (2 * depth) ** -0.5)
    return affine(w, "out", f.layer_norm(h, h.shape[-1:], eps=0.0))


def vit(w: Weights, x: Tensor, patch: int, depth: int, heads: int, gated: bool) -> Tensor:
    """A transformer on patches of images (batch, c, h, w), averaged over positions."""
    kernel = w["patches"]
    h = f.conv2d(x, kernel, w.get("patches bias"), stride=patch).flatten(2).mT + w["positions"]
    for i in range(depth):
        h = block(w, f"blocks.{i}", h, heads, False, gated, (2 * depth) ** -0.5)
    return affine(w, "out", f.layer_norm(h, h.shape[-1:], eps=0.0).mean(1))
