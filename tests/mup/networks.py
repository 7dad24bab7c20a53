"""Modules as users write them, for the tests of μP."""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


def mlp(n, bias=True):
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(8, n, bias), nn.ReLU(), nn.Linear(n, n, bias), nn.ReLU(), nn.Linear(n, 3, bias)
    )  # fmt: skip


class Attention(nn.Module):
    """Causal attention of four heads, with a scale c/d or torch's 1/√d."""

    def __init__(self, n, c=None):
        super().__init__()
        self.c = c
        self.q, self.k, self.v, self.out = (nn.Linear(n, n, bias=False) for _ in range(4))

    def forward(self, x):
        q, k, v = (w(x).unflatten(-1, (4, -1)).transpose(1, 2) for w in (self.q, self.k, self.v))
        scale = None if self.c is None else self.c / q.shape[-1]
        y = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm block of a transformer."""

    def __init__(self, n, c):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.attention = Attention(n, c)
        self.mlp = nn.Sequential(nn.Linear(n, 4 * n), nn.GELU(), nn.Linear(4 * n, n))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A transformer of tokens; tied ones may multiply their logits."""

    def __init__(self, n, depth=2, *, c: float | None = 2.0, tied=False, times=lambda n: 1.0, scale=1.0):
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, n), nn.Embedding(6, n)
        self.blocks = nn.Sequential(*(Block(n, c) for _ in range(depth)))
        self.norm = nn.LayerNorm(n)
        self.head = nn.Linear(n, 11, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        self.times, self.scale = times(n), scale(n) if callable(scale) else scale

    def forward(self, i):
        x = self.tokens(i) * self.scale + self.places(torch.arange(i.shape[1], device=i.device))
        return self.head(self.norm(self.blocks(x))) * self.times


class ResNet(nn.Module):
    """Pre-activation blocks with LayerNorm on vectors."""

    def __init__(self, n, depth=3):
        super().__init__()
        self.first = nn.Linear(8, n)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(n), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, n)) for _ in range(depth)
        )
        self.last = nn.Linear(n, 3)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


TOKENS = torch.zeros(2, 6, dtype=torch.long)
VECTORS = torch.zeros(2, 8)
