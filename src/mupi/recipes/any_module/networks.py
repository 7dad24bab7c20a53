"""Ordinary PyTorch networks of a width, as users write them; attention has μP's 1/d."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 4


class Perceptron(nn.Module):
    """Two hidden layers of n neurons."""

    def __init__(self, inputs: int, classes: int, width: int):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.readout = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, classes)."""
        return self.readout(F.relu(self.second(F.relu(self.first(x)))))


class ContextPerceptron(nn.Module):
    """A perceptron that reads the embedded characters before the one to be told."""

    def __init__(self, characters: int, context: int, width: int, dimension: int = 16):
        super().__init__()
        self.embedding = nn.Embedding(characters, dimension)
        self.net = Perceptron(context * dimension, characters, width)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, context) to (batch, characters)."""
        return self.net(self.embedding(x).flatten(1))


class ConvolutionalNet(nn.Module):
    """Three convolutions of n channels, halving the image twice, and the mean over positions."""

    def __init__(self, channels: int, classes: int, width: int, norm: bool = False):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, width, 3, stride=s, padding=1) for i, s in ((channels, 2), (width, 1), (width, 2))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(3))
        self.readout = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, classes)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(x)
            x = F.relu(norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.readout(x.mean((2, 3)))


class PreactivationResNet(nn.Module):
    """A stem of stride 2 and residual blocks (norm, ReLU, convolution) × 2 with n channels (He et al. 2016)."""

    def __init__(self, channels: int, classes: int, width: int, blocks: int = 2):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2 * blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, classes)."""
        x = self.stem(x)
        for i in range(0, len(self.convolutions), 2):
            h = x
            for convolution, norm in ((self.convolutions[k], self.norms[k]) for k in (i, i + 1)):
                h = convolution(F.relu(norm(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)))
            x = x + h
        return self.readout(F.relu(self.norm(x.permute(0, 2, 3, 1))).mean((1, 2)))


class CausalConvolutions(nn.Module):
    """Three convolutions over the characters so far."""

    def __init__(self, characters: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, padding=2) for _ in range(3))
        self.readout = nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, positions) to (batch, positions, characters)."""
        positions, x = x.shape[1], self.embedding(x).transpose(1, 2)
        for convolution in self.convolutions:
            x = F.relu(convolution(x)[:, :, :positions])
        return self.readout(x.transpose(1, 2))


class Block(nn.Module):
    """Attention and a perceptron, each after a normalization and added."""

    def __init__(self, width: int, causal: bool):
        super().__init__()
        self.causal = causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, positions, width) to the same."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, width // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # μP's 1/d, at d = 8 equal to 1/√d.
        scale = 8**0.5 * HEADS / width
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=scale)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """A causal transformer over characters."""

    def __init__(self, characters: int, context: int, width: int, layers: int = 1):
        super().__init__()
        self.tokens = nn.Embedding(characters, width)
        self.positions = nn.Parameter(torch.randn(context, width))
        self.blocks = nn.ModuleList(Block(width, causal=True) for _ in range(layers))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, positions) to (batch, positions, characters)."""
        x = self.tokens(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x))


class VisionTransformer(nn.Module):
    """A transformer over the patches of an image, and the mean over them (Dosovitskiy et al. 2021)."""

    def __init__(self, shape: tuple[int, int, int], patch: int, classes: int, width: int, layers: int = 1):
        super().__init__()
        self.patches = nn.Conv2d(shape[0], width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn((shape[1] // patch) * (shape[2] // patch), width))
        self.blocks = nn.ModuleList(Block(width, causal=False) for _ in range(layers))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x).mean(1))
